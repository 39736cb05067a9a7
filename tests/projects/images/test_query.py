"""Images and order of a query string, and paging by key."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.images.query import Query, matching_ids
from projects.labels import actions, suggestions
from projects.models import Annotation, Assignment, Image, Label, Project, RejectedSuggestion, Split
from tests.factories import make_image, make_project, make_user
from tests.pages import html_of
from tests.projects.images.test_similarity import embed
from tests.projects.views.test_label_data import HTMX, grid_ids

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    """Twelve images: six labeled (three per label) and six unlabeled, four of these with a suggestion."""
    made = make_project(labels=2, images=3, unlabeled=6)
    first, second = made.labels.all()
    waiting = list(made.images.unlabeled().order_by("pk"))
    for image, label, sure in zip(
        waiting, (first, first, first, second), (0.9, 0.9, 0.7, 0.99), strict=False
    ):
        Image.objects.filter(pk=image.pk).update(
            suggestion=label, confidence=sure, acquisition_score=1 - sure
        )
    return made


def found(project: Project, address: str, user: object = None) -> set[int]:
    params = dict(part.split("=", 1) for part in address.split("&"))
    return set(matching_ids(project, params, user))


def ids(images: object) -> set[int]:
    return set(images.values_list("pk", flat=True))


def test_each_filter_leaves_the_images_it_names(project: Project) -> None:
    first, second = project.labels.all()
    bob = make_user("bob")
    some = sorted(ids(project.images))[:2]
    everything = project.images.all()
    everything.filter(pk__in=some).update(split=Split.EVAL, is_hard=True, width=20, sharpness=2, brightness=5)
    Annotation.objects.filter(image_id=some[0]).update(by=bob, at=timezone.now() - timedelta(days=9))
    everything.filter(pk__in=some).update(duplicate_group=some[0], outlier_score=4.0)
    everything.filter(pk=some[1]).update(suspected_label=second, suspected_confidence=0.8)
    Assignment.objects.create(image_id=some[1], user=bob)
    day = (timezone.now() - timedelta(days=9)).date()
    labeled = ids(project.images.labeled())
    for address, expected in {
        f"label={first.pk}": ids(everything.filter(annotations__label=first)),
        f"tab=labeled&notlabel={first.pk}": ids(everything.filter(annotations__label=second)),
        "side=EVAL": set(some),
        "side=none": ids(everything) - set(some),
        "split=EVAL": set(some),
        "split=none": ids(everything) - set(some),
        f"by={bob.pk}": {some[0]},
        f"since={day}&until={day}": {some[0]},
        f"tab=labeled&since={day + timedelta(days=1)}": labeled - {some[0]},
        "q=PICTURE-1": ids(everything.filter(name__icontains="picture-1")),
        "size=tiny": ids(everything),
        f"tab=suggested&suggestion={second.pk}": ids(everything.filter(suggestion=second)),
        "tab=suggested&above=0.9": ids(everything.filter(confidence__gte=0.9)),
        "tab=suggested&below=0.9": ids(everything.filter(confidence__lte=0.9)),
        "hard=1": set(some),
        f"group={some[0]}": set(some),
        "check=blurred": set(some),
        "check=dark": set(some),
        "check=tiny": set(some) | ids(everything.filter(height__lt=32)),
        "check=outliers": set(some),
        "check=suspects": {some[1]},
        "check=duplicates": set(some),
        "mine=1": {some[1]},
    }.items():
        address = address if address.startswith("tab=") else f"tab=all&{address}"
        assert found(project, address, bob) == expected, address


def test_copies_with_different_labels_are_found_and_those_with_one_are_not(project: Project) -> None:
    first, second = project.labels.all()
    torn = [project.images.filter(annotations__label=label).first().pk for label in (first, second)]
    alike = list(project.images.filter(annotations__label=first).values_list("pk", flat=True)[1:3])
    project.images.filter(pk__in=torn).update(duplicate_group=torn[0])
    project.images.filter(pk__in=alike).update(duplicate_group=alike[0])
    assert found(project, "tab=all&check=conflicts") == set(torn)


def test_filters_combine_with_and(project: Project) -> None:
    first = project.labels.first()
    assert found(project, f"tab=all&label={first.pk}&q=picture-1") == {
        project.images.get(name="picture-1.png").pk
    }
    assert found(project, f"tab=unlabeled&label={first.pk}") == set()


@pytest.mark.parametrize(
    ("sort", "column", "is_descending"),
    [
        ("newest", "pk", True),
        ("oldest", "pk", False),
        ("name", "name", False),
        ("confidence", "confidence", True),
        ("uncertain", "confidence", False),
        ("useful", "acquisition_score", True),
    ],
)
def test_every_order_pages_there_and_back_without_gap_or_repetition(
    bob: Client,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    sort: str,
    column: str,
    is_descending: bool,
) -> None:
    monkeypatch.setattr("projects.images.query.PAGE_SIZES", (2, 200))
    url = reverse("label_data", args=[project.pk])
    seen: list[int] = []
    query, pages = f"tab=unlabeled&sort={sort}&show=2", []
    while query:
        response = bob.get(f"{url}?{query}")
        data_page = response.context["page"]
        pages.append(grid_ids(response))
        seen += pages[-1]
        query = data_page.older_address
    images = {image.pk: image for image in project.images.unlabeled()}
    has_value = [image for image in images.values() if getattr(image, column) is not None]
    expected = sorted(has_value, key=lambda image: (getattr(image, column), image.pk), reverse=is_descending)
    assert seen == [image.pk for image in expected] and len(pages) >= 2
    for page in pages[-2::-1]:
        response = bob.get(f"{url}?{data_page.newer_address}")
        data_page = response.context["page"]
        assert grid_ids(response) == page
    assert data_page.newer_address == ""


def test_a_further_page_is_tiles_alone_with_where_it_goes_on(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=250)
    grid = reverse("image_grid", args=[project.pk])
    first = bob.get(reverse("label_data", args=[project.pk])).context["page"]
    response = bob.get(f"{grid}?{first.older_address}&part=tiles", headers=HTMX)
    text = html_of(response)
    assert len(grid_ids(response)) == 100 and "data-next=" in text and "bench-head" not in text
    last = bob.get(f"{grid}?{response.context['page'].older_address}&part=tiles", headers=HTMX)
    assert len(grid_ids(last)) == 50 and "data-next=" not in html_of(last)


def test_an_address_survives_being_written_and_read(project: Project) -> None:
    address = (
        "tab=suggested&notlabel=3&split=none&since=2026-01-02&q=a+b&size=large&suggestion=7&above=0.0"
        "&below=0.5&hard=1&check=dark&mine=1&sort=useful&show=500"
    )
    from urllib.parse import parse_qsl

    query = Query.from_address(dict(parse_qsl(address)))
    assert dict(parse_qsl(query.address())) == dict(parse_qsl(address))
    assert query.without("hard").count("hard") == 0 and "below=0.5" in query.without("hard")


@pytest.mark.parametrize(
    "nonsense",
    [
        "tab=x&side=LEFT&by=-1&since=yesterday&size=huge&above=2&below=nan&check=all&sort=up&opinion=?",
        "above=inf&before=~&after=~~&sort=confidence&tab=suggested",
        "before=abc~5&sort=confidence&tab=suggested",
        "sort=similar",
        "sort=name&before=x~1",
    ],
)
def test_nonsense_counts_as_not_said(bob: Client, project: Project, nonsense: str) -> None:
    assert bob.get(f"{reverse('label_data', args=[project.pk])}?{nonsense}").status_code == 200


def test_the_tab_of_suggestions_begins_with_the_surest_and_counts_its_groups(
    bob: Client, project: Project
) -> None:
    response = bob.get(reverse("label_data", args=[project.pk]) + "?tab=suggested")
    order = [image.confidence for image in (Image.objects.get(pk=pk) for pk in grid_ids(response))]
    assert order == sorted(order, reverse=True) and len(order) == 4
    groups = response.context["page"].groups
    assert [(group.label.name, group.count, group.confident_count) for group in groups] == [
        ("label-0", 3, 0),
        ("label-1", 1, 1),
    ]
    assert response.context["page"].counts["suggested"] == 4


def test_suggestions_of_many_labels_leave_room_for_the_images(bob: Client, project: Project) -> None:
    labels = [Label.objects.create(project=project, name=f"kind {n}", position=10 + n) for n in range(30)]
    for number, label in enumerate(labels):
        image = make_image(project, 500 + number)
        Image.objects.filter(pk=image.pk).update(suggestion=label, confidence=0.5)
    address = reverse("label_data", args=[project.pk]) + "?tab=suggested"
    page = bob.get(address).context["page"]
    assert (len(page.shown_groups), len(page.more_groups)) == (12, 20)

    chosen = bob.get(f"{address}&suggestion={labels[-1].pk}").context["page"]
    assert chosen.shown_groups[-1].label == labels[-1] and len(chosen.more_groups) == 19


def test_the_most_similar_images_come_first_and_page_by_their_place(
    bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projects.images.query.PAGE_SIZES", (3, 200))
    project = make_project(labels=0, unlabeled=8)
    angles = np.linspace(0, 1.4, 8)
    ids = embed(project, np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
    url = reverse("label_data", args=[project.pk])
    first = bob.get(f"{url}?tab=all&sort=similar&like={ids[7]}&show=3")
    assert grid_ids(first) == ids[:4:-1]
    second = bob.get(f"{url}?{first.context['page'].older_address}")
    assert grid_ids(second) == ids[4:1:-1]
    assert grid_ids(bob.get(f"{url}?{second.context['page'].newer_address}")) == ids[:4:-1]
    assert "similar to one image" in html_of(first)


def test_all_that_match_are_labeled_confirmed_deleted_and_restored(bob: Client, project: Project) -> None:
    def post(name: str, query: str, count: int, **values: str) -> object:
        data = {"matching": "on", "count": count, **values}
        return bob.post(reverse(name, args=[project.pk]) + f"?{query}", data, headers=HTMX)

    assert post("label_images", "tab=unlabeled&q=picture-11", 1, add="label-0").status_code == 200
    assert project.images.labeled().count() == 7
    assert "2 images confirmed." in html_of(
        post("confirm_suggestions", f"tab=suggested&above=0.9&suggestion={project.labels.first().pk}", 2)
    )
    assert "1 image" in html_of(post("refuse_suggestions", "tab=suggested&below=0.8", 1))
    assert post("delete_images", "tab=labeled", 9).status_code == 200
    assert project.images.binned().count() == 9
    post("restore_images", "tab=bin", 9)
    assert project.images.binned().count() == 0


@pytest.mark.parametrize("count", ["", "3", "0", "-1", "1e3", "9" * 30])
def test_where_more_images_match_than_the_page_named_nothing_is_changed(
    bob: Client, project: Project, count: str
) -> None:
    names = ("label_images", "confirm_suggestions", "refuse_suggestions", "delete_images")
    for name in names:
        url = f"{reverse(name, args=[project.pk])}?tab=unlabeled"
        answer = bob.post(url, {"matching": "on", "count": count, "add": "label-0"}, headers=HTMX)
        if count == "3":
            assert "6 images match now, not 3. Nothing was changed: check again." in html_of(answer)
        assert answer.status_code == 422
    assert project.images.alive().unlabeled().count() == 6
    assert not RejectedSuggestion.objects.exists()


def test_neither_images_nor_matching_is_refused_at_the_field(
    bob: Client, vera: Client, project: Project
) -> None:
    for name in ("confirm_suggestions", "refuse_suggestions", "delete_images"):
        url = reverse(name, args=[project.pk])
        response = bob.post(url, {}, headers=HTMX)
        assert response.status_code == 422 and "Select at least one image." in html_of(response)
        assert vera.post(url, {"matching": "on"}).status_code == 403
    assert project.images.labeled().count() == 6


def test_nothing_left_to_confirm_is_said(bob: Client, project: Project) -> None:
    waiting = list(project.images.unlabeled().values_list("pk", flat=True))
    suggestions.confirm_suggestions(project, waiting, make_user("bob"))
    actions.apply(project, waiting, remove=["label-0", "label-1"], by=make_user("bob"))
    url = reverse("confirm_suggestions", args=[project.pk])
    label = project.labels.first().pk
    seen = ",".join(f"{pk}:{label}:" for pk in waiting)
    response = bob.post(url, {"seen": seen}, headers=HTMX)
    number = len(waiting)
    assert f"{number} of {number} were skipped: their suggestion changed." in html_of(response)

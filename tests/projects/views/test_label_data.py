"""The Label Data page: tabs, pages, filters, labeling, undo and roles."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from projects.label_data import page, rows
from projects.labels import actions
from projects.models import Image, LabelEvent, Project
from tests.factories import make_image, make_project, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def url(name: str, project: Project, query: str = "") -> str:
    return reverse(name, args=[project.pk]) + (f"?{query}" if query else "")


def grid_ids(response: object) -> list[int]:
    """The ids of the images in the answer's grid, in order."""
    return [int(pk) for pk in re.findall(r'data-image="(\d+)"', html_of(response))]


def newest_first(images: object) -> list[int]:
    return list(images.order_by("-pk").values_list("pk", flat=True))


def label(client: Client, project: Project, images: list[int], query: str = "", **values: object) -> object:
    data = {"images": ",".join(map(str, images)), **values}
    return client.post(url("label_images", project, query), data, headers=HTMX)


# --- tabs ---


def test_the_page_opens_on_what_is_unlabeled_with_the_counts(bob: Client) -> None:
    project = make_project(labels=2, images=3, unlabeled=4)
    actions.delete_images(project, newest_first(project.images)[:1], make_user("bob"))

    response = bob.get(url("label_data", project))

    assert grid_ids(response) == newest_first(project.images.unlabeled())
    assert response.context["page"].counts == {
        "unlabeled": 3,
        "suggested": 0,
        "labeled": 6,
        "all": 9,
        "bin": 1,
    }


def test_the_page_opens_on_all_where_nothing_is_unlabeled(bob: Client) -> None:
    project = make_project(labels=1, images=2)
    response = bob.get(url("label_data", project))
    assert response.context["page"].query.tab == "all" and len(grid_ids(response)) == 2


def test_each_tab_shows_its_images(bob: Client) -> None:
    project = make_project(labels=2, images=2, unlabeled=2)
    actions.delete_images(project, newest_first(project.images)[:1], make_user("bob"))
    for tab, images in {
        "unlabeled": project.images.unlabeled(),
        "labeled": project.images.labeled(),
        "all": project.images.alive(),
        "bin": project.images.binned(),
    }.items():
        assert grid_ids(bob.get(url("label_data", project, f"tab={tab}"))) == newest_first(images)


def test_nonsense_in_the_address_counts_as_not_said(bob: Client) -> None:
    project = make_project(labels=1, images=1, unlabeled=1)
    nonsense = "tab=x&label=-1&before=1e9&after=x&show=7&q=" + "%20" * 300
    response = bob.get(url("label_data", project, nonsense))
    assert response.status_code == 200 and grid_ids(response) == newest_first(project.images.unlabeled())


@pytest.mark.parametrize(
    ("images", "unlabeled", "query", "message"),
    [
        (0, 0, "", "No images yet"),
        (2, 0, "tab=unlabeled", "All images are labeled"),
        (0, 1, "tab=labeled", "No images are labeled yet"),
        (0, 1, "tab=bin", "The bin is empty"),
        (1, 0, "tab=all&q=zebra", "No image matches"),
    ],
)
def test_an_empty_tab_says_what_to_do(
    bob: Client, images: int, unlabeled: int, query: str, message: str
) -> None:
    project = make_project(labels=1, images=images, unlabeled=unlabeled)
    assert message in html_of(bob.get(url("label_data", project, query)))


# --- pages and filters ---


@pytest.mark.parametrize(
    ("counted", "ranges"),
    [
        (5_000, ["1–100 of 250", "101–200 of 250", "201–250 of 250"]),
        (60, ["1–100 of 250", "101–200 of 250", "201–250 of 250"]),  # counted from the end
        (40, ["1–100 of 250", "beyond the first 40 of 250", "201–250 of 250"]),
    ],
)
def test_pages_follow_each_other_without_gap_or_repetition(
    counted: int, ranges: list[str], bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAX_COUNTED", counted)
    monkeypatch.setattr(rows, "MAX_COUNTED", counted)
    project = make_project(labels=0, unlabeled=250)
    expected = newest_first(project.images)
    seen: list[int] = []
    query = "tab=all"
    positions = []
    while query:
        response = bob.get(url("label_data", project, query))
        data_page = response.context["page"]
        seen += grid_ids(response)
        positions.append(data_page.slice.range_text)
        query = data_page.older_address
    assert seen == expected
    assert positions == ranges

    back = bob.get(url("label_data", project, data_page.newer_address))
    assert grid_ids(back) == expected[100:200]
    assert grid_ids(bob.get(url("label_data", project, back.context["page"].newer_address))) == expected[:100]


def test_a_page_that_became_empty_shows_the_first_one(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=3)
    oldest = newest_first(project.images)[-1]
    assert len(grid_ids(bob.get(url("label_data", project, f"tab=all&before={oldest}")))) == 3


def test_a_page_may_hold_more_images(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=120)
    assert len(grid_ids(bob.get(url("label_data", project, "tab=all&show=200")))) == 120


def test_a_label_filters_the_grid(bob: Client) -> None:
    project = make_project(labels=2, images=2)
    label_1 = project.labels.get(name="label-1")
    response = bob.get(url("label_data", project, f"tab=labeled&label={label_1.pk}"))
    assert grid_ids(response) == newest_first(project.images.filter(annotations__label=label_1))
    assert response.context["page"].slice.total == 2


def test_a_label_of_another_project_matches_nothing(bob: Client) -> None:
    project, other = make_project(labels=1, images=1), make_project("other", labels=1, images=1)
    response = bob.get(url("label_data", project, f"tab=all&label={other.labels.get().pk}"))
    assert grid_ids(response) == [] and "No image matches" in html_of(response)


def test_a_part_of_the_file_name_finds_images(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=12)
    response = bob.get(url("label_data", project, "tab=all&q=PICTURE-1"))
    assert response.context["page"].slice.total == 3  # 1, 10, 11


def test_the_number_of_queries_does_not_depend_on_the_images(bob: Client) -> None:
    few, many = (
        make_project("few", labels=1, images=2),
        make_project("many", labels=9, images=9, unlabeled=20),
    )

    def queries(project: Project) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert bob.get(url("label_data", project, "tab=all")).status_code == 200
        return len(captured)

    queries(few)
    assert queries(few) == queries(many) <= 32


# --- labeling ---


def test_labeling_moves_images_and_answers_with_all_that_changed(bob: Client) -> None:
    project = make_project(labels=1, images=1, unlabeled=3)
    first, second, third = newest_first(project.images.unlabeled())

    response = label(bob, project, [first, second], "tab=unlabeled", add="label-0")

    text = html_of(response)
    assert response.status_code == 200 and grid_ids(response) == [third]
    for part in ("bench-head", "all-labels", "project-bar", "notice", "label-error"):
        assert re.search(rf'id="{part}"[^>]*hx-swap-oob="true"', text)
    assert "2 images labeled “label-0”." in text
    assert project.images.labeled().count() == 3
    event = LabelEvent.objects.get()
    assert event.by == make_user("bob") and f'data-undo="{event.pk}"' in text


def test_a_typed_label_is_made(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=1)
    label(bob, project, newest_first(project.images), add="  Sun  flower ")
    assert project.labels.get().name == "Sun flower"


def test_with_several_labels_per_image_keys_keep_the_images_in_sight(bob: Client) -> None:
    project = make_project(labels=2, images=0, unlabeled=3, is_multi_label=True)
    images = newest_first(project.images)
    response = label(bob, project, images[1:2], "tab=unlabeled", add="label-0", stays="on")
    assert grid_ids(response) == images
    assert response.context["page"].slice.total == 2
    assert grid_ids(label(bob, project, images[1:2], "tab=unlabeled", add="label-1")) == [
        images[0],
        images[2],
    ]


def test_removing_a_label_says_so(bob: Client) -> None:
    project = make_project(labels=1, images=2)
    response = label(bob, project, newest_first(project.images), remove="label-0")
    assert "“label-0” removed from 2 images." in html_of(response)
    assert project.images.labeled().count() == 0


@pytest.mark.parametrize(
    ("images", "add", "message"),
    [
        ("", ["x"], "Select at least one image."),
        ("1,zebra", ["x"], "Select images on this page."),
        ("1", [], "Type a label and press Enter."),
        ("1", ["a/b"], "without slash"),
        ("1", ["x" * 65], "Use 1 to 64 characters"),
        ("1", ["a", "b"], "one label each"),
        (",".join(["1"] * 5001), ["x"], "at most 5,000 images"),
    ],
)
def test_a_bad_request_says_why_and_changes_nothing(
    bob: Client, images: str, add: list[str], message: str
) -> None:
    project = make_project(labels=1, images=1)
    response = bob.post(url("label_images", project), {"images": images, "add": add}, headers=HTMX)
    assert response.status_code == 422
    error = re.search(r'id="label-error"[^>]*>([^<]*)<', html_of(response))
    assert error and message in error[1]
    assert not LabelEvent.objects.exists() and project.labels.count() == 1


def test_images_of_another_project_cannot_be_labeled(bob: Client) -> None:
    project, other = make_project(labels=1, images=1), make_project("other", labels=0, unlabeled=1)
    response = label(bob, project, newest_first(other.images), add="label-0")
    assert "Nothing to change." in html_of(response)
    assert not other.images.labeled().exists()


def test_without_htmx_the_page_comes_back(bob: Client) -> None:
    project = make_project(labels=1, images=0, unlabeled=1)
    response = bob.post(
        url("label_images", project, "tab=all"), {"images": project.images.get().pk, "add": "label-0"}
    )
    assert response.status_code == 303 and response["Location"] == url("label_data", project, "tab=all")


# --- undo ---


def test_undo_takes_back_the_named_action(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=2)
    label(bob, project, newest_first(project.images), add="rose")
    response = bob.post(url("undo_labeling", project), {"event": LabelEvent.objects.get().pk}, headers=HTMX)
    assert "Undone for 2 images." in html_of(response)
    assert project.images.labeled().count() == 0


def test_undo_without_a_name_takes_back_what_the_person_did_last(alice: Client, bob: Client) -> None:
    project = make_project(labels=0, unlabeled=2)
    first, second = newest_first(project.images)
    label(bob, project, [first], add="rose")
    label(alice, project, [second], add="tulip")
    bob.post(url("undo_labeling", project), headers=HTMX)
    assert newest_first(project.images.labeled()) == [second]


def test_undo_says_what_somebody_changed_since(alice: Client, bob: Client) -> None:
    project = make_project(labels=0, unlabeled=2)
    label(bob, project, newest_first(project.images), add="rose")
    label(alice, project, newest_first(project.images)[:1], add="tulip")
    response = bob.post(url("undo_labeling", project), headers=HTMX)
    assert "Undone for 1 image. 1 image was changed since and stays as it is." in html_of(response)


def test_undo_twice_or_with_nothing_done_says_so(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=1)
    assert "You have nothing to undo" in html_of(bob.post(url("undo_labeling", project), headers=HTMX))
    label(bob, project, newest_first(project.images), add="rose")
    event = {"event": LabelEvent.objects.get().pk}
    bob.post(url("undo_labeling", project), event, headers=HTMX)
    again = bob.post(url("undo_labeling", project), event, headers=HTMX)
    assert again.status_code == 409 and "undone already" in html_of(again)


@pytest.mark.parametrize("event", ["zebra", "0", "9" * 30])
def test_undo_of_an_unknown_action_is_404(bob: Client, event: str) -> None:
    project = make_project(labels=0)
    assert bob.post(url("undo_labeling", project), {"event": event}).status_code == 404


def test_undo_of_another_projects_action_is_404(bob: Client) -> None:
    project, other = make_project(labels=0), make_project("other", labels=0, unlabeled=1)
    label(bob, other, newest_first(other.images), add="rose")
    event = {"event": LabelEvent.objects.get().pk}
    assert bob.post(url("undo_labeling", project), event).status_code == 404
    assert other.images.labeled().count() == 1


# --- the refresh ---


def test_the_grid_as_it_is_now_carries_no_notice(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    response = bob.get(url("image_grid", project, "tab=all"), headers=HTMX)
    text = html_of(response)
    assert text.startswith('<div class="grid"') and 'id="notice"' not in text
    assert grid_ids(response) == newest_first(project.images)


# --- who ---


def test_a_viewer_sees_everything_and_no_control(vera: Client) -> None:
    project = make_project(labels=1, images=2)
    response = vera.get(url("label_data", project, "tab=all"))
    text = html_of(response)
    assert len(grid_ids(response)) == 2 and "label-0" in text
    for control in (
        "label-input",
        "data-delete",
        "data-choose",
        "data-undo",
        "new-label",
        "upload.js",
        "/rename/",
    ):
        assert control not in text


@pytest.mark.parametrize(
    "name",
    ["label_images", "undo_labeling", "delete_images", "restore_images", "create_label", "upload_images"],
)
def test_only_labelers_change_anything(name: str, vera: Client, mallory: Client, bob: Client) -> None:
    project = make_project(labels=1, images=1, unlabeled=1)
    data = {"images": str(Image.objects.first().pk), "add": "label-0", "name": "new"}
    assert vera.post(url(name, project), data).status_code == 403
    assert mallory.post(url(name, project), data).status_code == 404
    assert bob.get(url(name, project)).status_code == 405
    assert Client().post(url(name, project), data).status_code == 302
    assert project.images.labeled().count() == 1 and project.labels.count() == 1


def test_names_are_escaped(bob: Client) -> None:
    project = make_project(labels=0)
    image = make_image(project, 1)
    Image.objects.update(name='"><script>alert(1)</script>.png')
    label(bob, project, [image.pk], add="<b>x</b>")  # refused: a slash
    label(bob, project, [image.pk], add='"><i>x')
    text = html_of(bob.get(url("label_data", project, "tab=all")))
    assert "<script>alert" not in text and "<i>x" not in text

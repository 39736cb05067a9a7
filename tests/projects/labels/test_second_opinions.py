"""Second, blind opinions on a share of the images, and what a Reviewer decides."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from projects.collaboration import review
from projects.labels import actions, second_opinions
from projects.models import (
    Image,
    Label,
    LabelEvent,
    Membership,
    Opinion,
    Project,
    Role,
)
from tests.factories import make_project, make_user
from tests.pages import html_of
from tests.projects.transfers.import_factories import labels_by_name
from tests.projects.views.test_people import ALICE, BOB, labeled, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def rita(db: None) -> Client:
    """Reviews."""
    project_team = make_project("reviewed", labels=0).team
    user = make_user("rita")
    Membership.objects.create(team=project_team, user=user, role=Role.REVIEWER)
    client = Client()
    client.force_login(user)
    return client


# --- second opinions ---


def asked(share: int = 100, count: int = 4, **options: Any) -> Project:
    """A project whose images Alice labeled as roses, with second opinions on."""
    project = make_project(labels=0, unlabeled=count, **options)
    actions.ensure_labels(project, ["roses", "tulips"])
    second_opinions.set_share(project, share)
    labeled(project, "roses", ALICE)
    return project


def states(project: Project) -> list[str]:
    return list(project.images.order_by("pk").values_list("opinion", flat=True))


def label_of(project: Project, name: str) -> Label:
    return project.labels.get(name=name)


def test_a_share_of_the_labeled_images_wants_an_opinion() -> None:
    project = make_project(labels=0, unlabeled=200)
    labeled(project, "roses", ALICE, 100)
    second_opinions.set_share(project, 30)
    early = states(project).count("wanted")
    assert 20 <= early <= 40  # of the hundred that were labeled before
    labeled(project, "roses", ALICE)
    assert 45 <= states(project).count("wanted") <= 75
    chosen = {pk for pk, state in project.images.values_list("pk", "opinion") if state}
    second_opinions.set_share(project, 60)
    more = {pk for pk, state in project.images.values_list("pk", "opinion") if state}
    assert chosen < more
    second_opinions.set_share(project, 0)
    assert set(states(project)) == {""}


def test_nobody_judges_what_she_labeled_herself() -> None:
    project = asked()
    assert second_opinions.images_waiting_for(project, make_user(ALICE)).count() == 0
    assert second_opinions.images_waiting_for(project, make_user(BOB)).count() == 4


def test_the_page_is_blind(bob: Client) -> None:
    project = asked()
    project.images.update(suggestion=label_of(project, "tulips"), confidence=0.9)
    page = html_of(bob.get(url("opinion", project)))
    assert page.count("roses") == page.count("tulips") == 1  # the buttons, and nothing else
    assert "alice" not in page and "4 images left" in page


def test_an_opinion_agrees_or_differs_and_the_label_stays(bob: Client) -> None:
    project = asked(count=2)
    for name in ("roses", "tulips"):
        image = second_opinions.images_waiting_for(project, make_user(BOB)).first()
        data = {"image": image.pk, "labels": [label_of(project, name).pk]}
        assert bob.post(url("give_opinion", project), data, headers={"HX-Request": "true"}).status_code == 200
    assert sorted(states(project)) == ["agrees", "differs"]
    assert set(map(tuple, labels_by_name(project).values())) == {("roses",)}
    page = html_of(bob.get(url("opinion", project)))
    assert "No images need your opinion" in page


def test_an_opinion_is_given_once(bob: Client) -> None:
    project = asked(count=1)
    data = {"image": project.images.get().pk, "labels": [label_of(project, "roses").pk]}
    bob.post(url("give_opinion", project), data)
    again = bob.post(url("give_opinion", project), data)
    assert again.status_code == 409 and "Another person gave this opinion" in html_of(again)
    assert Opinion.objects.count() == 1


@pytest.mark.parametrize("names", [[], ["roses", "tulips"]])
def test_an_opinion_has_the_labels_that_the_project_allows(bob: Client, names: list[str]) -> None:
    project = asked(count=2)
    image = project.images.first()
    labels = [label_of(project, name).pk for name in names]
    answer = bob.post(url("give_opinion", project), {"image": image.pk, "labels": labels})
    assert answer.status_code == 422 and f'value="{image.pk}"' in html_of(answer)
    assert not Opinion.objects.exists()


def test_skipping_comes_round_to_all_images(bob: Client) -> None:
    project = asked(count=3)
    seen, after = set(), ""
    for _ in range(3):
        page = html_of(bob.get(f"{url('opinion', project)}?after={after}"))
        after = re.findall(r'href="[^"]*\?after=([0-9a-f]{64})"', page)[0]
        seen.add(after)
    assert len(seen) == 3


def test_changing_a_label_after_an_opinion_compares_again() -> None:
    project = asked(count=1)
    image = project.images.get()
    second_opinions.give_opinion(project, image.pk, [label_of(project, "tulips")], make_user(BOB))
    assert states(project) == ["differs"]
    actions.apply(project, [image.pk], add=["tulips"], by=make_user(ALICE))
    assert states(project) == ["agrees"]
    actions.apply(project, [image.pk], remove=["tulips"], by=make_user(ALICE))
    assert states(project) == [""]


def test_agreement_is_counted_per_label_and_corrected_for_chance() -> None:
    """Computed by hand: 4 images, first rrrr/t, second rrt/t: observed 3/4."""
    project = make_project(labels=0, unlabeled=4)
    second_opinions.set_share(project, 100)
    labeled(project, "roses", ALICE, 3)
    labeled(project, "tulips", ALICE, 1)
    roses, tulips = label_of(project, "roses"), label_of(project, "tulips")
    for image, label in zip(project.images.order_by("pk"), [roses, roses, tulips, tulips], strict=True):
        second_opinions.give_opinion(project, image.pk, [label], make_user(BOB))
    agreement = second_opinions.agreement(project)
    assert (agreement.agreeing, agreement.judged, agreement.percent) == (3, 4, 75)
    assert {row.label.name: (row.both, row.either) for row in agreement.labels} == {
        "roses": (2, 3),
        "tulips": (1, 2),
    }
    chance = (3 * 2 + 1 * 2) / 16
    assert agreement.kappa == pytest.approx((0.75 - chance) / (1 - chance))


def test_agreement_stays_what_it_was_when_differences_are_settled() -> None:
    project = asked(count=2)
    first, second = project.images.order_by("pk")
    second_opinions.give_opinion(project, first.pk, [label_of(project, "roses")], make_user(BOB))
    second_opinions.give_opinion(project, second.pk, [label_of(project, "tulips")], make_user(BOB))
    review.resolve(project, second.pk, takes_second=True, by=make_user(ALICE))
    agreement = second_opinions.agreement(project)
    assert (agreement.agreeing, agreement.judged) == (1, 2)
    assert second_opinions.agreement(make_project("empty")) is None


MERGED = ["as it was", "taken back", "again"]


@pytest.mark.parametrize("now", MERGED)
def test_a_merged_label_in_an_opinion_means_the_one_it_went_into(now: str) -> None:
    """Also after two merges, until the merge is undone."""
    project = asked(count=1)
    image = project.images.get()
    [peonies] = actions.ensure_labels(project, ["peonies"])
    second_opinions.give_opinion(project, image.pk, [peonies], make_user(BOB))
    actions.merge_labels(peonies, label_of(project, "tulips"), None)
    assert states(project) == ["differs"]
    event = actions.merge_labels(label_of(project, "tulips"), label_of(project, "roses"), None)
    assert states(project) == ["agrees"]
    if now != "as it was":
        event = actions.undo(event, None).event
        assert states(project) == ["differs"]
    if now == "again":
        actions.redo(event, None)
    is_merged = now != "taken back"
    assert states(project) == ["agrees" if is_merged else "differs"]
    [other] = [name for name in labeling_names(project) if name != "roses"] or ["roses"]
    assert {row.label.name for row in second_opinions.agreement(project).labels} == {"roses", other}
    if not is_merged:
        review.resolve(project, image.pk, takes_second=True, by=make_user(ALICE))
        assert list(labels_by_name(project).values()) == [["tulips"]]


def labeling_names(project: Project) -> list[str]:
    return list(project.labels.values_list("name", flat=True))


# --- reviews ---


def disputed(count: int = 1) -> Project:
    project = asked(count=count)
    for image in list(project.images.order_by("pk")):
        second_opinions.give_opinion(project, image.pk, [label_of(project, "tulips")], make_user(BOB))
    return project


def verdict_of(project: Project, verdict: str) -> dict[str, object]:
    """The form of the review page, as it shows the two opinions at this moment."""
    image = project.images.get()
    first = ",".join(str(label.pk) for label in Label.objects.filter(annotations__image=image))
    second = ",".join(map(str, image.second_opinion.labels))
    return {"image": image.pk, "first": first, "second": second, "verdict": verdict}


@pytest.mark.parametrize("verdict", ["first", "second", "reject"])
def test_a_verdict_on_labels_that_changed_meanwhile_is_not_taken(rita: Client, verdict: str) -> None:
    project = disputed()
    seen = verdict_of(project, verdict)
    actions.apply(project, [project.images.get().pk], add=["daisies"], by=make_user(ALICE))
    before = list(labels_by_name(project).values())
    answer = rita.post(url("settle", project), seen, headers={"HX-Request": "true"})
    assert answer.status_code in (200, 409)
    assert list(labels_by_name(project).values()) == before == [["daisies"]]


def test_a_verdict_on_a_second_opinion_that_is_another_now_is_refused(rita: Client) -> None:
    project = disputed()
    seen = verdict_of(project, "second")
    actions.ensure_labels(project, ["daisies"])
    Opinion.objects.update(labels=[label_of(project, "daisies").pk])
    answer = rita.post(url("settle", project), seen, headers={"HX-Request": "true"})
    assert answer.status_code == 409 and "labels of the image have changed" in html_of(answer)
    assert states(project) == ["differs"]


@pytest.mark.parametrize(
    ("verdict", "labels", "state"),
    [("first", ["roses"], "confirmed"), ("second", ["tulips"], "confirmed"), ("reject", [], "rejected")],
)
def test_a_reviewer_decides_which_label_holds(
    rita: Client, verdict: str, labels: list[str], state: str
) -> None:
    project = disputed()
    page = html_of(rita.get(url("review", project)))
    assert "alice" in page and "bob" in page and "1 difference to decide" in page
    answer = rita.post(url("settle", project), verdict_of(project, verdict), headers={"HX-Request": "true"})
    assert "No differences to decide" in html_of(answer)
    assert list(labels_by_name(project).values()) == [labels]
    assert states(project) == [state]


def test_a_verdict_that_does_not_exist_changes_nothing(rita: Client) -> None:
    project = disputed()
    answer = rita.post(url("settle", project), {"image": project.images.get().pk, "verdict": "both"})
    assert answer.status_code == 422 and states(project) == ["differs"]


def test_a_reviewer_confirms_and_rejects_selected_images(rita: Client) -> None:
    project = make_project("flowers", labels=1, images=3)
    first, second, third = project.images.order_by("pk").values_list("pk", flat=True)
    label = project.labels.get().pk
    rita.post(url("review_images", project), {"seen": f"{first}::{label}", "verdict": "confirm"})
    both = f"{second}::{label},{third}::{label}"
    rita.post(url("review_images", project), {"seen": both, "verdict": "reject"})
    assert states(project) == ["confirmed", "rejected", "rejected"]
    assert project.images.unlabeled().count() == 2
    event = LabelEvent.objects.get()
    actions.undo(event, make_user("rita"))
    assert project.images.unlabeled().count() == 0
    assert states(project)[1:] == ["", ""]


@pytest.mark.parametrize("verdict", ["confirm", "reject"])
def test_labels_that_changed_since_the_reviewer_saw_them_are_left(rita: Client, verdict: str) -> None:
    project = make_project("flowers", labels=2, images=1)
    first, second = project.images.order_by("pk").values_list("pk", flat=True)
    roses, tulips = project.labels.all()
    seen = f"{first}::{roses.pk},{second}::{tulips.pk}"
    actions.apply(project, [second], add=["label-0"], by=make_user(ALICE))
    data = {"seen": seen, "verdict": verdict}
    answer = rita.post(url("review_images", project), data, headers={"HX-Request": "true"})
    assert "1 of 2 was skipped: it was labeled or deleted meanwhile." in html_of(answer)
    assert states(project) == ["confirmed" if verdict == "confirm" else "rejected", ""]
    assert Label.objects.get(annotations__image=second).name == "label-0"


def test_rejected_images_are_found_by_the_filter_until_they_are_labeled_again(bob: Client) -> None:
    project = make_project(labels=1, images=2)
    review.reject(project, [project.images.first().pk], make_user(ALICE))
    address = f"{url('label_data', project)}?tab=unlabeled&opinion=rejected"
    assert "1–1 of 1" in html_of(bob.get(address))
    labeled(project, "roses", BOB)
    assert "No image matches" in html_of(bob.get(address))


def test_labels_that_a_reviewer_confirmed_lose_that_when_they_change() -> None:
    project = make_project(labels=1, images=1)
    image = project.images.get()
    review.confirm(project, [image.pk], make_user(ALICE))
    actions.apply(project, [image.pk], add=["roses"], by=make_user(BOB))
    assert states(project) == [""]


def test_a_confirmation_survives_the_bin() -> None:
    project = make_project(labels=1, images=1)
    image = project.images.get()
    review.confirm(project, [image.pk], make_user(ALICE))
    actions.delete_images(project, [image.pk], make_user(BOB))
    actions.restore_images(project, [image.pk], make_user(BOB))
    assert states(project) == ["confirmed"]


def test_the_slower_of_two_reviewers_changes_nothing() -> None:
    project = disputed()
    image = project.images.get()
    review.resolve(project, image.pk, takes_second=False, by=make_user(ALICE))
    assert review.resolve(project, image.pk, takes_second=True, by=make_user(ALICE)) is None
    assert list(labels_by_name(project).values()) == [["roses"]]


def test_labelers_do_not_review(bob: Client) -> None:
    project = disputed()
    assert bob.get(url("review", project)).status_code == 403
    data = {"images": str(Image.objects.first().pk), "verdict": "confirm"}
    assert bob.post(url("review_images", project), data).status_code == 403
    assert "data-review=" not in html_of(bob.get(url("label_data", project)))

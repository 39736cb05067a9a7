"""Several people at once: assignments, who is here, pace, second opinions, reviews."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects import assigning, labeling, opinions, presence, reviewing
from projects.models import (
    Annotation,
    Assignment,
    Image,
    Label,
    LabelEvent,
    Membership,
    Opinion,
    Presence,
    Project,
    Role,
)
from projects.pace import pace
from tests.making import make_project, make_user
from tests.projects.importing import labels_by_name

pytestmark = pytest.mark.django_db
ALICE, BOB = "alice", "bob"


def url(name: str, project: Project, *more: int) -> str:
    return reverse(name, args=[project.pk, *more])


def labeled(project: Project, label: str, by: str, count: int | None = None) -> list[int]:
    """Unlabeled images that `by` now labels."""
    ids = list(project.images.unlabeled().order_by("pk").values_list("pk", flat=True)[:count])
    labeling.apply(project, ids, add=[label], by=make_user(by))
    return ids


@pytest.fixture
def rita(db: None) -> Client:
    """Reviews."""
    project_team = make_project("reviewed", labels=0).team
    user = make_user("rita")
    Membership.objects.create(team=project_team, user=user, role=Role.REVIEWER)
    client = Client()
    client.force_login(user)
    return client


# --- assignments ---


def test_the_next_fifty_are_nobody_elses_and_lead_to_work(bob: Client, alice: Client) -> None:
    project = make_project(labels=0, unlabeled=60)
    answer = bob.post(url("assign_next", project))
    assert answer["Location"] == f"{url('label_data', project)}?tab=unlabeled&mine=1"
    alice.post(url("assign_next", project))
    given = [set(make_user(name).assignments.values_list("image", flat=True)) for name in (BOB, ALICE)]
    assert list(map(len, given)) == [50, 10] and not given[0] & given[1]
    page = bob.get(f"{url('label_data', project)}?tab=unlabeled&mine=1").content.decode()
    assert "1–50 of 50" in page and "For me" in page


def test_the_most_useful_images_are_given_first() -> None:
    project = make_project(labels=0, unlabeled=3)
    first, second, third = project.images.order_by("pk")
    project.images.filter(pk=third.pk).update(usefulness=0.9)
    project.images.filter(pk=second.pk).update(usefulness=0.1)
    assigning.next_for(project, make_user(BOB), None, count=2)
    assert set(Assignment.objects.values_list("image", flat=True)) == {third.pk, second.pk}
    assert first.pk not in set(Assignment.objects.values_list("image", flat=True))


def test_a_labeled_image_is_asked_of_nobody_any_more() -> None:
    project = make_project(labels=0, unlabeled=4)
    assigning.next_for(project, make_user(BOB), None)
    labeled(project, "roses", ALICE, 1)  # others may, too
    assert assigning.mine(project, make_user(BOB)) == 3


def test_images_are_dealt_evenly_among_the_chosen(alice: Client) -> None:
    project = make_project(labels=0, unlabeled=11)
    users = [make_user(ALICE).pk, make_user(BOB).pk]
    assert alice.post(url("assign", project), {"users": users, "percent": 50}).status_code == 303
    assert assigning.waiting_by_user(project) == {users[0]: 3, users[1]: 3}
    alice.post(url("take_assignments_back", project, users[0]))
    assert assigning.waiting_by_user(project) == {users[1]: 3}


@pytest.mark.parametrize(
    ("person", "percent", "sentence"),
    [
        ("", 100, "Choose at least one person."),
        ("vera", 100, "not one of the available choices"),
        ("mallory", 100, "not one of the available choices"),
        ("bob", 0, "greater than or equal to 1"),
    ],
)
def test_a_deal_that_makes_no_sense_is_refused(
    alice: Client, person: str, percent: int, sentence: str
) -> None:
    project = make_project(labels=0, unlabeled=2)
    users = [make_user(person).pk] if person else []
    answer = alice.post(url("assign", project), {"users": users, "percent": percent})
    assert answer.status_code == 422 and sentence in answer.content.decode()
    assert not Assignment.objects.exists()


def test_nothing_left_to_give_is_said(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    answer = bob.post(url("assign_next", project), follow=True)
    assert "labeled or given to somebody already" in answer.content.decode()


# --- presence and news ---


def test_others_see_who_is_here_and_at_which_image(bob: Client, alice: Client) -> None:
    project = make_project(labels=0, unlabeled=1)
    image = project.images.get()
    assert alice.post(url("here", project), {"image": image.pk, "since": 0}).json()["people"] == []
    told = bob.post(url("here", project), {"since": 0}).json()
    assert told["people"] == [{"name": "alice", "image": image.pk}]
    Presence.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert presence.others(project, make_user(BOB)) == []


def test_what_others_change_is_told_and_ones_own_is_not(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=3)
    before = bob.post(url("here", project), {"since": 0}).json()["last"]
    own = labeled(project, "roses", BOB, 1)
    theirs = labeled(project, "tulips", ALICE, 1)
    told = bob.post(url("here", project), {"since": before}).json()
    assert (told["names"], told["touched"]) == (["alice"], theirs)
    assert own[0] not in told["touched"]
    assert bob.post(url("here", project), {"since": told["last"]}).json()["touched"] == []


@pytest.mark.parametrize("image", ["x", "-1", "99999999999999999999"])
def test_nonsense_about_where_one_is_is_refused_or_forgotten(bob: Client, image: str) -> None:
    answer = bob.post(url("here", make_project()), {"image": image})
    assert answer.status_code in (200, 422)
    assert not Presence.objects.exclude(image=None).exists()


def test_tiles_are_shown_as_they_are_now(vera: Client) -> None:
    project = make_project(labels=1, images=2, unlabeled=1)
    other = make_project("other", labels=0, unlabeled=1)
    ids = [project.images.first().pk, other.images.get().pk]
    page = vera.get(f"{url('image_grid', project)}?only={ids[0]},{ids[1]},x").content.decode()
    assert page.count('class="tile"') == 1 and f'id="image-{ids[0]}"' in page


# --- pace ---


def test_the_pace_counts_what_each_person_gave(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=10)
    labeled(project, "roses", BOB, 4)
    labeled(project, "tulips", ALICE, 2)
    Annotation.objects.filter(label__name="tulips").update(at=timezone.now() - timedelta(days=3))
    found = {worker.user.username: worker for worker in pace(project).workers}
    assert [(w.hour, w.week, w.total) for w in (found[BOB], found[ALICE])] == [(4, 4, 4), (0, 2, 2)]
    assert found["vera"].total == 0
    assert (pace(project).per_hour, pace(project).unlabeled) == (4, 4)
    assert pace(project).seconds_left == pytest.approx(3600)
    page = bob.get(url("people", project)).content.decode()
    assert "4 images to label, about 60 minutes at the pace of the last hour" in " ".join(page.split())


def test_who_left_the_team_is_still_named() -> None:
    project = make_project(labels=0, unlabeled=1)
    labeled(project, "roses", BOB)
    Membership.objects.filter(user=make_user(BOB)).delete()
    [worker] = [one for one in pace(project).workers if one.user.username == BOB]
    assert worker.role == "left the team"


def test_the_page_of_people_takes_the_same_queries_for_many(
    vera: Client, django_assert_max_num_queries: Any
) -> None:
    project = make_project(labels=3, images=4)
    for number in range(8):
        Membership.objects.create(team=project.team, user=make_user(f"person-{number}"), role=Role.LABELER)
    with django_assert_max_num_queries(36):
        vera.get(url("people", project))


# --- second opinions ---


def asked(share: int = 100, count: int = 4, **options: Any) -> Project:
    """A project whose images Alice labeled roses, and which wants opinions."""
    project = make_project(labels=0, unlabeled=count, **options)
    labeling.ensure_labels(project, ["roses", "tulips"])
    opinions.set_share(project, share)
    labeled(project, "roses", ALICE)
    return project


def states(project: Project) -> list[str]:
    return list(project.images.order_by("pk").values_list("opinion", flat=True))


def label_of(project: Project, name: str) -> Label:
    return project.labels.get(name=name)


def test_a_share_of_the_labeled_images_wants_an_opinion() -> None:
    project = make_project(labels=0, unlabeled=200)
    labeled(project, "roses", ALICE, 100)
    opinions.set_share(project, 30)
    early = states(project).count("wanted")
    assert 20 <= early <= 40  # of the hundred that were labeled before
    labeled(project, "roses", ALICE)
    assert 45 <= states(project).count("wanted") <= 75
    wanted = {pk for pk, state in project.images.values_list("pk", "opinion") if state}
    opinions.set_share(project, 60)
    more = {pk for pk, state in project.images.values_list("pk", "opinion") if state}
    assert wanted < more
    opinions.set_share(project, 0)
    assert set(states(project)) == {""}


def test_nobody_judges_what_she_labeled_herself() -> None:
    project = asked()
    assert opinions.waiting_for(project, make_user(ALICE)).count() == 0
    assert opinions.waiting_for(project, make_user(BOB)).count() == 4


def test_the_page_is_blind(bob: Client) -> None:
    project = asked()
    project.images.update(suggestion=label_of(project, "tulips"), confidence=0.9)
    page = bob.get(url("opinion", project)).content.decode()
    assert page.count("roses") == page.count("tulips") == 1  # the buttons, and nothing else
    assert "alice" not in page and "4 to go" in page


def test_an_opinion_agrees_or_differs_and_the_label_stays(bob: Client) -> None:
    project = asked(count=2)
    for name in ("roses", "tulips"):
        image = opinions.waiting_for(project, make_user(BOB)).first()
        data = {"image": image.pk, "labels": [label_of(project, name).pk]}
        assert bob.post(url("give_opinion", project), data, headers={"HX-Request": "true"}).status_code == 200
    assert sorted(states(project)) == ["agrees", "differs"]
    assert set(map(tuple, labels_by_name(project).values())) == {("roses",)}
    page = bob.get(url("opinion", project)).content.decode()
    assert "No image waits for your opinion" in page


def test_an_opinion_is_given_once(bob: Client) -> None:
    project = asked(count=1)
    data = {"image": project.images.get().pk, "labels": [label_of(project, "roses").pk]}
    bob.post(url("give_opinion", project), data)
    again = bob.post(url("give_opinion", project), data)
    assert again.status_code == 409 and "Somebody gave this opinion" in again.content.decode()
    assert Opinion.objects.count() == 1


@pytest.mark.parametrize("names", [[], ["roses", "tulips"]])
def test_an_opinion_has_the_labels_that_the_project_allows(bob: Client, names: list[str]) -> None:
    project = asked(count=2)
    image = project.images.first()
    labels = [label_of(project, name).pk for name in names]
    answer = bob.post(url("give_opinion", project), {"image": image.pk, "labels": labels})
    assert answer.status_code == 422 and f'value="{image.pk}"' in answer.content.decode()
    assert not Opinion.objects.exists()


def test_skipping_comes_round_to_all_images(bob: Client) -> None:
    project = asked(count=3)
    seen, after = set(), ""
    for _ in range(3):
        page = bob.get(f"{url('opinion', project)}?after={after}").content.decode()
        after = page.split("?after=")[1].split('"')[0]
        seen.add(after)
    assert len(seen) == 3


def test_changing_a_label_after_an_opinion_compares_again() -> None:
    project = asked(count=1)
    image = project.images.get()
    opinions.give(project, image.pk, [label_of(project, "tulips")], make_user(BOB))
    assert states(project) == ["differs"]
    labeling.apply(project, [image.pk], add=["tulips"], by=make_user(ALICE))
    assert states(project) == ["agrees"]
    labeling.apply(project, [image.pk], remove=["tulips"], by=make_user(ALICE))
    assert states(project) == [""]


def test_agreement_is_counted_per_label_and_corrected_for_chance() -> None:
    """Worked by hand: 4 images, first rrrr/t, second rrt/t: observed 3/4."""
    project = make_project(labels=0, unlabeled=4)
    opinions.set_share(project, 100)
    labeled(project, "roses", ALICE, 3)
    labeled(project, "tulips", ALICE, 1)
    roses, tulips = label_of(project, "roses"), label_of(project, "tulips")
    for image, label in zip(project.images.order_by("pk"), [roses, roses, tulips, tulips], strict=True):
        opinions.give(project, image.pk, [label], make_user(BOB))
    found = opinions.agreement(project)
    assert (found.agreeing, found.judged, found.percent) == (3, 4, 75)
    assert {row.label.name: (row.both, row.either) for row in found.labels} == {
        "roses": (2, 3),
        "tulips": (1, 2),
    }
    chance = (3 * 2 + 1 * 2) / 16
    assert found.kappa == pytest.approx((0.75 - chance) / (1 - chance))


def test_agreement_stays_what_it_was_when_differences_are_settled() -> None:
    project = asked(count=2)
    one, two = project.images.order_by("pk")
    opinions.give(project, one.pk, [label_of(project, "roses")], make_user(BOB))
    opinions.give(project, two.pk, [label_of(project, "tulips")], make_user(BOB))
    reviewing.settle(project, two.pk, takes_second=True, by=make_user(ALICE))
    found = opinions.agreement(project)
    assert (found.agreeing, found.judged) == (1, 2)
    assert opinions.agreement(make_project("empty")) is None


# --- reviews ---


def disputed(count: int = 1) -> Project:
    project = asked(count=count)
    for image in list(project.images.order_by("pk")):
        opinions.give(project, image.pk, [label_of(project, "tulips")], make_user(BOB))
    return project


@pytest.mark.parametrize(
    ("verdict", "labels", "state"),
    [("first", ["roses"], "confirmed"), ("second", ["tulips"], "confirmed"), ("reject", [], "rejected")],
)
def test_a_reviewer_decides_which_label_holds(
    rita: Client, verdict: str, labels: list[str], state: str
) -> None:
    project = disputed()
    page = rita.get(url("review", project)).content.decode()
    assert "alice" in page and "bob" in page and "1 to decide" in page
    data = {"image": project.images.get().pk, "verdict": verdict}
    answer = rita.post(url("settle", project), data, headers={"HX-Request": "true"})
    assert "No difference to decide" in answer.content.decode()
    assert list(labels_by_name(project).values()) == [labels]
    assert states(project) == [state]


def test_a_verdict_that_does_not_exist_changes_nothing(rita: Client) -> None:
    project = disputed()
    answer = rita.post(url("settle", project), {"image": project.images.get().pk, "verdict": "both"})
    assert answer.status_code == 422 and states(project) == ["differs"]


def test_a_reviewer_confirms_and_rejects_selected_images(rita: Client) -> None:
    project = make_project("flowers", labels=1, images=3)
    one, two, three = project.images.order_by("pk").values_list("pk", flat=True)
    rita.post(url("review_images", project), {"images": f"{one}", "verdict": "confirm"})
    rita.post(url("review_images", project), {"images": f"{two},{three}", "verdict": "reject"})
    assert states(project) == ["confirmed", "rejected", "rejected"]
    assert project.images.unlabeled().count() == 2
    event = LabelEvent.objects.get()
    labeling.undo(event, make_user("rita"))
    assert project.images.unlabeled().count() == 0
    assert states(project)[1:] == ["", ""]


def test_rejected_images_are_found_by_the_filter_until_they_are_labeled_again(bob: Client) -> None:
    project = make_project(labels=1, images=2)
    reviewing.reject(project, [project.images.first().pk], make_user(ALICE))
    address = f"{url('label_data', project)}?tab=unlabeled&opinion=rejected"
    assert "1–1 of 1" in bob.get(address).content.decode()
    labeled(project, "roses", BOB)
    assert "No image matches" in bob.get(address).content.decode()


def test_labels_that_a_reviewer_confirmed_lose_that_when_they_change() -> None:
    project = make_project(labels=1, images=1)
    image = project.images.get()
    reviewing.confirm(project, [image.pk], make_user(ALICE))
    labeling.apply(project, [image.pk], add=["roses"], by=make_user(BOB))
    assert states(project) == [""]


def test_a_confirmation_survives_the_bin() -> None:
    project = make_project(labels=1, images=1)
    image = project.images.get()
    reviewing.confirm(project, [image.pk], make_user(ALICE))
    labeling.delete_images(project, [image.pk], make_user(BOB))
    labeling.restore_images(project, [image.pk], make_user(BOB))
    assert states(project) == ["confirmed"]


def test_the_slower_of_two_reviewers_changes_nothing() -> None:
    project = disputed()
    image = project.images.get()
    reviewing.settle(project, image.pk, takes_second=False, by=make_user(ALICE))
    assert reviewing.settle(project, image.pk, takes_second=True, by=make_user(ALICE)) is None
    assert list(labels_by_name(project).values()) == [["roses"]]


def test_labelers_do_not_review(bob: Client) -> None:
    project = disputed()
    assert bob.get(url("review", project)).status_code == 403
    data = {"images": str(Image.objects.first().pk), "verdict": "confirm"}
    assert bob.post(url("review_images", project), data).status_code == 403
    assert "data-review=" not in bob.get(url("label_data", project)).content.decode()

"""Collaboration: assignments, presence, progress."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.collaboration import assignments, presence
from projects.collaboration.progress import team_progress
from projects.labels import actions
from projects.models import (
    Annotation,
    Assignment,
    Membership,
    Presence,
    Project,
    Role,
)
from tests.factories import make_image, make_project, make_user
from tests.pages import html_of

pytestmark = pytest.mark.django_db
ALICE, BOB = "alice", "bob"


def url(name: str, project: Project, *more: int) -> str:
    return reverse(name, args=[project.pk, *more])


def labeled(project: Project, label: str, by: str, count: int | None = None) -> list[int]:
    """Label unlabeled images as `by`, at most `count`. Returns their ids."""
    ids = list(project.images.unlabeled().order_by("pk").values_list("pk", flat=True)[:count])
    actions.apply(project, ids, add=[label], by=make_user(by))
    return ids


# --- assignments ---


def test_the_next_fifty_are_nobody_elses_and_lead_to_work(bob: Client, alice: Client) -> None:
    project = make_project(labels=0, unlabeled=60)
    answer = bob.post(url("assign_next", project))
    assert answer["Location"] == f"{url('label_data', project)}?tab=unlabeled&mine=1"
    alice.post(url("assign_next", project))
    given = [set(make_user(name).assignments.values_list("image", flat=True)) for name in (BOB, ALICE)]
    assert list(map(len, given)) == [50, 10] and not given[0] & given[1]
    page = html_of(bob.get(f"{url('label_data', project)}?tab=unlabeled&mine=1"))
    assert "1–50 of 50" in page and "For me" in page


def test_the_most_useful_images_are_given_first() -> None:
    project = make_project(labels=0, unlabeled=3)
    first, second, third = project.images.order_by("pk")
    project.images.filter(pk=third.pk).update(acquisition_score=0.9)
    project.images.filter(pk=second.pk).update(acquisition_score=0.1)
    assignments.assign_next(project, make_user(BOB), None, count=2)
    assert set(Assignment.objects.values_list("image", flat=True)) == {third.pk, second.pk}
    assert first.pk not in set(Assignment.objects.values_list("image", flat=True))


def test_a_labeled_image_is_asked_of_nobody_any_more() -> None:
    project = make_project(labels=0, unlabeled=4)
    assignments.assign_next(project, make_user(BOB), None)
    labeled(project, "roses", ALICE, 1)  # others may label them, too
    assert assignments.count_assigned(project, make_user(BOB)) == 3


def test_images_are_dealt_evenly_among_the_chosen(alice: Client) -> None:
    project = make_project(labels=0, unlabeled=11)
    users = [make_user(ALICE).pk, make_user(BOB).pk]
    assert alice.post(url("assign", project), {"users": users, "percent": 50}).status_code == 303
    assert assignments.assigned_by_user(project) == {users[0]: 3, users[1]: 3}
    alice.post(url("take_assignments_back", project, users[0]))
    assert assignments.assigned_by_user(project) == {users[1]: 3}


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
    assert answer.status_code == 422 and sentence in html_of(answer)
    assert not Assignment.objects.exists()


def test_nothing_left_to_give_is_said(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    answer = bob.post(url("assign_next", project), follow=True)
    assert "already labeled or assigned to someone" in html_of(answer)


# --- presence and changes ---


def test_others_see_who_is_here_and_at_which_image(bob: Client, alice: Client) -> None:
    project = make_project(labels=0, unlabeled=1)
    image = project.images.get()
    assert alice.post(url("here", project), {"image": image.pk, "since": 0}).json()["people"] == []
    changes = bob.post(url("here", project), {"since": 0}).json()
    assert changes["people"] == [{"name": "alice", "image": image.pk}]
    Presence.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert presence.other_people(project, make_user(BOB)) == []


def test_what_changed_elsewhere_is_told_also_ones_own(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=3)
    before = bob.post(url("here", project), {"since": 0}).json()["last"]
    own = labeled(project, "roses", BOB, 1)
    theirs = labeled(project, "tulips", ALICE, 1)
    changes = bob.post(url("here", project), {"since": before}).json()
    assert (changes["names"], changes["touched"]) == (["You", "alice"], sorted(own + theirs))
    assert bob.post(url("here", project), {"since": changes["last"]}).json()["touched"] == []


def test_a_page_learns_that_images_and_labels_were_added(bob: Client) -> None:
    project = make_project(labels=1, images=1)

    def state() -> str:
        return bob.post(url("here", project), {"since": 0}).json()["state"]

    before = state()
    assert f'data-state="{before}"' in html_of(bob.get(url("label_data", project)))
    actions.ensure_labels(project, ["roses"])
    with_label = state()
    make_image(project, 99)
    assert len({before, with_label, state()}) == 3
    project.labels.get(name="roses").delete()
    assert state() != with_label


@pytest.mark.parametrize("image", ["x", "-1", "99999999999999999999"])
def test_nonsense_about_where_one_is_is_refused_or_forgotten(bob: Client, image: str) -> None:
    answer = bob.post(url("here", make_project()), {"image": image})
    assert answer.status_code in (200, 422)
    assert not Presence.objects.exclude(image=None).exists()


def test_tiles_are_shown_as_they_are_now(vera: Client) -> None:
    project = make_project(labels=1, images=2, unlabeled=1)
    other = make_project("other", labels=0, unlabeled=1)
    ids = [project.images.first().pk, other.images.get().pk]
    page = html_of(vera.get(f"{url('image_grid', project)}?only={ids[0]},{ids[1]},x"))
    assert page.count('class="tile"') == 1 and f'id="image-{ids[0]}"' in page


# --- progress ---


def test_the_pace_counts_what_each_person_gave(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=10)
    labeled(project, "roses", BOB, 4)
    labeled(project, "tulips", ALICE, 2)
    Annotation.objects.filter(label__name="tulips").update(at=timezone.now() - timedelta(days=3))
    progress = {worker.user.username: worker for worker in team_progress(project).workers}
    assert [(w.hour, w.week, w.total) for w in (progress[BOB], progress[ALICE])] == [(4, 4, 4), (0, 2, 2)]
    assert progress["vera"].total == 0
    assert (team_progress(project).per_hour, team_progress(project).unlabeled) == (4, 4)
    assert team_progress(project).seconds_left == pytest.approx(3600)
    page = html_of(bob.get(url("people", project)))
    assert "4 images to label, about 60 minutes at the pace of the last hour" in " ".join(page.split())


def test_who_left_the_team_is_still_named() -> None:
    project = make_project(labels=0, unlabeled=1)
    labeled(project, "roses", BOB)
    Membership.objects.filter(user=make_user(BOB)).delete()
    [worker] = [worker for worker in team_progress(project).workers if worker.user.username == BOB]
    assert worker.role == "left the team"


def test_the_page_of_people_takes_the_same_queries_for_many(
    vera: Client, django_assert_max_num_queries: Any
) -> None:
    project = make_project(labels=3, images=4)
    for number in range(8):
        Membership.objects.create(team=project.team, user=make_user(f"person-{number}"), role=Role.LABELER)
    with django_assert_max_num_queries(37):
        vera.get(url("people", project))

"""Counts of images and carriers, and what they are remembered for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from projects.labels import actions, counts, suggestions
from projects.labels.counts import images_per_label, images_per_tab
from projects.models import Project
from tests.factories import make_image, make_project, make_user

pytestmark = pytest.mark.django_db
REAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "counted"}


@pytest.fixture(autouse=True)
def remembering() -> Iterator[None]:
    with override_settings(CACHES={"default": REAL, "counts": REAL}):
        caches["counts"].clear()
        yield


def price(project: Project) -> int:
    with CaptureQueriesContext(connection) as queries:
        images_per_tab(project)
        images_per_label(project)
    return len(queries)


def test_what_did_not_change_is_not_counted_again() -> None:
    project = make_project(labels=2, images=3, unlabeled=2)
    assert price(project) > price(project) == 2


def test_actions_and_uploads_are_counted_at_once() -> None:
    project, bob = make_project(labels=2, images=3, unlabeled=2), make_user("bob")
    first, second = project.labels.all()
    assert images_per_tab(project) == {"unlabeled": 2, "suggested": 0, "labeled": 6, "all": 8, "bin": 0}
    assert images_per_label(project) == {first.pk: 3, second.pk: 3}
    waiting = list(project.images.unlabeled().values_list("pk", flat=True))
    event = actions.apply(project, waiting, add=[first], by=bob)
    assert images_per_tab(project)["labeled"] == 8 and images_per_label(project)[first.pk] == 5
    actions.delete_images(project, waiting[:1], bob)
    assert images_per_tab(project)["bin"] == 1 and images_per_label(project)[first.pk] == 4
    actions.restore_images(project, waiting[:1], bob)
    actions.undo(event, bob)
    make_image(project, 99)
    assert images_per_tab(project) == {"unlabeled": 3, "suggested": 0, "labeled": 6, "all": 9, "bin": 0}
    assert images_per_label(project) == {first.pk: 3, second.pk: 3}


def test_labeling_is_added_to_what_was_counted() -> None:
    """The numbers go on without counting, and are those that counting would give."""
    project, bob = make_project(labels=3, images=3, unlabeled=6), make_user("bob")
    first, second, third = project.labels.all()
    waiting = list(project.images.unlabeled().order_by("pk"))
    project.images.filter(pk__in=[image.pk for image in waiting[:4]]).update(suggestion=first, confidence=0.9)
    images_per_tab(project), images_per_label(project)
    labeled = project.images.labeled().values_list("pk", flat=True)[:2]
    steps = [
        lambda: actions.apply(project, [image.pk for image in waiting[:3]], add=[second], by=bob),
        lambda: actions.apply(project, labeled, add=[third], by=bob),  # takes a place
        lambda: actions.apply(project, [waiting[0].pk], remove=[second], by=bob),
        lambda: suggestions.confirm_suggestions(project, [waiting[3].pk], bob),
    ]
    for step in steps:
        step()
        with CaptureQueriesContext(connection) as queries:
            images, carriers = images_per_tab(project), images_per_label(project)
        assert len(queries) == 3, "the action is read, nothing is counted"
        caches["counts"].clear()
        assert (images, carriers) == (images_per_tab(project), images_per_label(project))


def test_what_workers_change_is_counted_again_soon_and_only_where_it_is_shown(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    project = make_project(labels=1, images=1, unlabeled=3)
    images_per_tab(project)
    project.images.unlabeled().update(suggestion=project.labels.get(), confidence=0.9)
    assert images_per_tab(project)["suggested"] == 0
    monkeypatch.setattr(counts, "QUICK_S", 0)
    with django_assert_num_queries(1):
        images_per_label(project)
    assert images_per_tab(project)["suggested"] == 3


def test_a_action_that_says_too_little_is_counted() -> None:
    project, bob = make_project(labels=2, images=3), make_user("bob")
    images_per_tab(project)
    actions.delete_label(project.labels.first(), bob, with_images=True)
    assert images_per_tab(project)["bin"] == 3 and +images_per_label(project) == {project.labels.get().pk: 3}


def test_projects_do_not_share_their_counts() -> None:
    first, other = make_project(labels=1, images=1), make_project("other", labels=1, images=4)
    assert images_per_tab(first)["all"] == 1 and images_per_tab(other)["all"] == 4

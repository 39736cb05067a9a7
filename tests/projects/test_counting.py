"""Counts of images and carriers, and what they are remembered for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import caches
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from projects import labeling
from projects.counting import count_carriers, count_images
from projects.models import Project
from tests.making import make_image, make_project, make_user

pytestmark = pytest.mark.django_db
REAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "counted"}


@pytest.fixture(autouse=True)
def remembering() -> Iterator[None]:
    with override_settings(CACHES={"default": REAL, "counts": REAL}):
        caches["counts"].clear()
        yield


def price(project: Project) -> int:
    with CaptureQueriesContext(connection) as queries:
        count_images(project)
        count_carriers(project)
    return len(queries)


def test_what_did_not_change_is_not_counted_again() -> None:
    project = make_project(labels=2, images=3, unlabeled=2)
    assert price(project) > price(project) == 4


def test_deeds_and_uploads_are_counted_at_once() -> None:
    project, bob = make_project(labels=2, images=3, unlabeled=2), make_user("bob")
    first, second = project.labels.all()
    assert count_images(project) == {"unlabeled": 2, "suggested": 0, "labeled": 6, "all": 8, "bin": 0}
    assert count_carriers(project) == {first.pk: 3, second.pk: 3}
    waiting = list(project.images.unlabeled().values_list("pk", flat=True))
    event = labeling.apply(project, waiting, add=[first], by=bob)
    assert count_images(project)["labeled"] == 8 and count_carriers(project)[first.pk] == 5
    labeling.delete_images(project, waiting[:1], bob)
    assert count_images(project)["bin"] == 1 and count_carriers(project)[first.pk] == 4
    labeling.restore_images(project, waiting[:1], bob)
    labeling.undo(event, bob)
    make_image(project, 99)
    assert count_images(project) == {"unlabeled": 3, "suggested": 0, "labeled": 6, "all": 9, "bin": 0}
    assert count_carriers(project) == {first.pk: 3, second.pk: 3}


def test_projects_do_not_share_their_counts() -> None:
    one, other = make_project(labels=1, images=1), make_project("other", labels=1, images=4)
    assert count_images(one)["all"] == 1 and count_images(other)["all"] == 4

"""Check Data: counts that link to the images, and labels with too few images."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from projects.models import Image, Project
from projects.quality.findings import issue_counts, label_balance
from tests.factories import make_image, make_project
from tests.pages import html_of
from tests.projects.views.test_label_data import grid_ids

pytestmark = pytest.mark.django_db


def url(project: Project) -> str:
    return reverse("data_check", args=[project.pk])


def test_every_count_is_that_of_the_images_behind_its_link(vera: Client) -> None:
    project = make_project(labels=2, images=4)
    first, second, third, *_ = project.images.all()
    project.images.update(sharpness=500, brightness=120, width=400, height=300)
    Image.objects.filter(pk=first.pk).update(suspected_label=project.labels.first(), suspected_confidence=0.9)
    Image.objects.filter(pk__in=[second.pk, third.pk]).update(duplicate_group=third.pk, brightness=3)
    Image.objects.filter(pk=third.pk).update(width=4000)
    page = vera.get(url(project))
    counts = {finding.check.name: finding.count for finding in page.context["findings"]}
    assert {name for name, count in counts.items() if count} == {"suspects", "duplicates", "dark", "odd"}
    for name, count in counts.items():
        behind = vera.get(reverse("label_data", args=[project.pk]) + f"?tab=all&check={name}")
        assert len(grid_ids(behind)) == count, name
        assert (f"check={name}" in html_of(page)) == bool(count)


def test_labels_with_too_few_or_far_more_images_are_named_with_what_to_do() -> None:
    project = make_project(labels=3, images=0)
    few, some, many = project.labels.all()
    for seed, label in enumerate([few] * 3 + [some] * 7):
        make_image(project, seed, [label])
    advice = {row.label.name: row.advice for row in label_balance(project)}
    assert advice == {
        "label-2": "5 more images are needed to train.",
        "label-0": "2 more images are needed to train.",
        "label-1": "At least 50 images are recommended.",
    }
    for seed in range(100, 402):
        make_image(project, seed, [few] if seed < 156 else [some] if seed < 210 else [many])
    assert label_balance(project) == []


def test_the_rarest_label_is_named_where_another_has_far_more() -> None:
    project = make_project(labels=2, images=0)
    rare, frequent = project.labels.all()
    for seed in range(360):
        make_image(project, seed, [rare] if seed < 51 else [frequent])
    assert [row.advice for row in label_balance(project)] == [
        "6 times as many images as the rarest label. Add images to the rarest."
    ]


def test_an_empty_project_has_nothing_to_check(vera: Client) -> None:
    project = make_project(labels=0, images=0)
    assert not any(finding.count for finding in issue_counts(project)) and label_balance(project) == []
    assert "none found" in html_of(vera.get(url(project)))


def test_the_price_does_not_depend_on_images_or_labels(vera: Client) -> None:
    def price(project: Project) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert vera.get(url(project)).status_code == 200
        return len(queries)

    small, large = make_project("small", labels=1, images=1), make_project("large", labels=9, images=9)
    price(small)
    assert price(small) == price(large)

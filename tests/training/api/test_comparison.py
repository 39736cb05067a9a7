"""Versions compared through the API: the figures of the page Compare, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from projects.models import Project
from tests.factories import make_image, make_project, make_user, make_version
from tests.projects.api.callers import ApiClient
from tests.training.evaluation.test_comparison import trained
from training.evaluation import comparison
from training.models import Status, TrainingVersion

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db: None) -> Project:
    return make_project(labels=2, images=40)


@pytest.fixture
def vera(project: Project) -> ApiClient:
    return ApiClient(make_user("vera"), ["read"])


def compare(caller: ApiClient, project: Project, base: int, *others: object) -> Any:
    query = "&".join(f"with={number}" for number in others)
    return caller.get(f"/projects/{project.pk}/versions/{base}/compare?{query}")


def test_a_better_version_is_called_better_with_its_test(vera: ApiClient, project: Project) -> None:
    bad, good = trained(project, 1, set(range(12))), trained(project, 2, {0, 30})
    body = compare(vera, project, 1, 2).json()
    (pair,) = comparison.compare(project, [bad, good]).pairs
    assert body["image_count"] == pair.images == 40 and body["excluded_count"] == 0
    assert [row["accuracy"]["hit_count"] for row in body["versions"]] == [28, 38]
    assert body["pairs"] == [
        {
            "base": 1,
            "other": 2,
            "only_base_count": 1,
            "only_other_count": 11,
            "p_value": pytest.approx(26 / 4096),
            "verdict": "better",
            "summary": pair.summary,
        }
    ]
    assert body["difference_count"] == len(body["differences"]) == 12
    first = body["differences"][0]
    assert [answer["is_correct"] for answer in first["answers"]] == [False, True]
    assert first["answers"][1]["predicted"] == first["labels"][0]
    assert {"name": "Dataset Version", "values": ["V001", "V002"]} in body["parameters"]
    assert compare(vera, project, 2, 1).json()["pairs"][0]["verdict"] == "worse"


def test_images_that_a_version_has_not_predicted_are_waited_for(vera: ApiClient, project: Project) -> None:
    trained(project, 1)
    for seed in range(500, 520):
        make_image(project, seed, [project.labels.first()])
    trained(project, 2)
    body = compare(vera, project, 1, 2).json()
    waiting = [row["waiting_count"] for row in body["versions"]]
    assert body["is_waiting"] and waiting[0] > 0 and waiting[1] == 0


@pytest.mark.parametrize(
    "others", [[], [1], [9], [3], [2, 4], [2, 3, 4, 5, 6, 7, 8], ["x"], [0]], ids=lambda others: str(others)
)
def test_what_cannot_be_compared_is_refused(vera: ApiClient, project: Project, others: list[object]) -> None:
    for number in (1, 2):
        make_version(project, number, Status.COMPLETED)
    make_version(project, 3, Status.RUNNING)
    answer = compare(vera, project, 1, *others)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("with")


def test_a_damaged_manifest_is_a_conflict(vera: ApiClient, project: Project) -> None:
    trained(project, 1)
    trained(project, 2)
    dataset = TrainingVersion.objects.get(number=1).dataset_version
    type(dataset).objects.filter(pk=dataset.pk).update(sha256="0" * 64)
    answer = compare(vera, project, 1, 2)
    assert answer.status_code == 409 and "was changed after it was published" in answer.json()["detail"]

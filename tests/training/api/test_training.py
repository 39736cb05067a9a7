"""A training from the call that starts it to the figures, with the real engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from django.conf import settings

from tests.factories import cpu_flavor, make_user
from tests.projects.api.callers import ApiClient
from tests.training.api.test_evaluation import assert_figures_of_the_download, path, rows_of
from tests.training.jobs.test_train_version import make_coloured_project
from training.jobs import train_version
from training.models import TrainingVersion

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _clean_folders() -> Iterator[None]:
    """Primary keys restart in the next test, and files do not roll back."""
    yield
    shutil.rmtree(settings.WORK_DIR, ignore_errors=True)
    shutil.rmtree(settings.FILES_DIR / "training", ignore_errors=True)


def test_a_program_trains_and_reads_the_figures_of_the_page() -> None:
    """An earlier attempt used all but ten seconds of six minutes."""
    project = make_coloured_project()
    alice = ApiClient(make_user("alice"), ["train"])
    body = {"max_inference_ms": 7, "max_training_hours": 0.1, "instance_flavor": cpu_flavor().pk}
    started = alice.post(f"/projects/{project.pk}/versions", body).json()
    version = TrainingVersion.objects.get(number=started["number"])

    used = {"used_s": 350, "lost": 1}
    TrainingVersion.objects.filter(pk=version.pk).update(attempt=2, claimed_attempt=1, progress=used)

    train_version.train(version.pk, 2)

    shown = alice.get(f"/projects/{project.pk}/versions/{version.number}").json()
    assert (shown["status"], shown["failure_cause"], shown["progress"]) == ("Completed", "", None)
    assert shown["model_name"] == "exeML-colours-V001" and shown["model_bytes"] > 1_000_000
    version.refresh_from_db()
    assert_figures_of_the_download(alice, version)
    metrics = alice.get(path(version, "metrics")).json()
    assert metrics["accuracy"]["value"] == shown["accuracy"]
    images = rows_of(alice, path(version, "images?with_scores=true"))
    assert len(images) == metrics["validation_image_count"] >= 3
    assert all(set(image["scores"]) == {"red", "green", "blue"} for image in images)
    assert sum(image["is_correct"] for image in images) == metrics["accuracy"]["hit_count"]
    chosen = [row for row in rows_of(alice, path(version, "candidates")) if row["is_chosen"]]
    assert len(chosen) == 1 and chosen[0]["rank"]

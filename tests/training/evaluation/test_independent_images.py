"""Independent validation images: none that the version, or one that it continues, was trained on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from projects.models import Project
from tests.factories import make_version
from training.engine import EngineError
from training.engine.config import Sample
from training.jobs import train_version
from training.models import Status, TrainingVersion

pytestmark = pytest.mark.django_db


@pytest.fixture
def heir(project: Project, tiny_bundle: Path) -> Iterator[TrainingVersion]:
    """A version that continues a version with a real fit."""
    base = make_version(project, 1, Status.COMPLETED)
    folder = Path(default_storage.path(base.folder))
    shutil.copytree(tiny_bundle, folder / "bundle")
    yield make_version(project, 2, Status.RUNNING, incremental_version=base)
    shutil.rmtree(folder)


def base_of(heir: TrainingVersion) -> Path:
    """The bundle of the version it continues; the heir's own bundle names those images and more."""
    return train_version.bundle_path(heir.incremental_version)


def examined(tiny_samples: list[Sample], ids: set[str]) -> list[Sample]:
    return [
        Sample(sample.id, sample.path, sample.labels, "EVAL") for sample in tiny_samples if sample.id in ids
    ]


def test_images_that_the_base_was_trained_on_judge_nothing(
    heir: TrainingVersion, tiny_samples: list[Sample]
) -> None:
    independent, excluded = train_version.independent_samples(
        base_of(heir), examined(tiny_samples, {"red-0", "green-5", "blue-5"})
    )
    assert [sample.id for sample in independent] == ["green-5", "blue-5"] and excluded == 1


def test_a_version_without_a_base_is_judged_by_all(heir: TrainingVersion, tiny_samples: list[Sample]) -> None:
    samples = examined(tiny_samples, {"red-5", "green-5"})
    assert train_version.independent_samples(base_of(heir), [*samples, tiny_samples[1]]) == (samples, 0)


def test_where_nobody_is_left_to_judge_it_is_said(heir: TrainingVersion, tiny_samples: list[Sample]) -> None:
    with pytest.raises(EngineError, match="was trained on every validation image"):
        train_version.independent_samples(base_of(heir), examined(tiny_samples, {"red-0", "green-1"}))

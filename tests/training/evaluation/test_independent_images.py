"""Independent validation images: none that the version, or one that it continues, was trained on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from projects.models import MetadataColumn, MetadataValue, Project
from tests.factories import make_image, make_version
from training.engine import EngineError
from training.engine.config import Sample
from training.jobs import completion, train_version
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
    independent, excluded = completion.independent_samples(
        base_of(heir), examined(tiny_samples, {"red-0", "green-5", "blue-5"}), {}
    )
    assert [sample.id for sample in independent] == ["green-5", "blue-5"] and excluded == 1


def test_a_version_without_a_base_is_judged_by_all(heir: TrainingVersion, tiny_samples: list[Sample]) -> None:
    samples = examined(tiny_samples, {"red-5", "green-5"})
    assert completion.independent_samples(base_of(heir), [*samples, tiny_samples[1]], {}) == (samples, 0)


def test_where_nobody_is_left_to_judge_it_is_said(heir: TrainingVersion, tiny_samples: list[Sample]) -> None:
    with pytest.raises(EngineError, match="was trained on every validation image"):
        completion.independent_samples(base_of(heir), examined(tiny_samples, {"red-0", "green-1"}), {})


def test_the_rest_of_a_group_that_the_base_was_trained_on_judges_nothing(
    heir: TrainingVersion, tiny_samples: list[Sample]
) -> None:
    samples = examined(tiny_samples, {"red-0", "red-5", "green-5", "blue-5"})
    groups = {"red-0": 7, "red-5": 7, "green-5": 8, "blue-5": None}
    independent, excluded = completion.independent_samples(base_of(heir), samples, groups)
    assert [sample.id for sample in independent] == ["green-5", "blue-5"] and excluded == 2


def test_duplicates_and_images_that_are_never_split_are_groups(project: Project) -> None:
    images = [make_image(project, seed) for seed in range(900, 905)]
    column = MetadataColumn.objects.create(project=project, name="person", is_never_split=True)
    for image in images[:2]:
        MetadataValue.objects.create(column=column, image=image, value="ann")
    project.images.filter(pk__in=[images[2].pk, images[3].pk]).update(duplicate_group=images[2].pk)
    samples = [Sample(str(image.pk), Path("a.png"), ("red",), "EVAL") for image in images]
    groups = completion.groups_of(make_version(project), samples)
    a, b, c, d, e = (groups[sample.id] for sample in samples)
    assert a == b and c == d and len({a, c, e}) == 3 and e is None

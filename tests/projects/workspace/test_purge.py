"""A deleted project goes for good after EXEML_BIN_DAYS, with all rows and files of it and of nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from exeml_site.lib import storage
from projects.labels import actions, undo
from projects.models import AuditEvent, Image, Project, Transfer
from projects.workspace import purge
from tests.factories import make_project, make_user, make_version
from training.models import (
    Batch,
    CollectedCall,
    EvaluatedImage,
    Service,
    Status,
    TrainingVersion,
    VersionEvaluation,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_files() -> Iterator[None]:
    """Primary keys begin again in the next test, and files do not roll back."""
    yield
    for folder in ("training", "batches", "services", "transfers", "datasets"):
        storage.delete_folder(folder)


def rows() -> dict[str, int]:
    """The number of rows of every model of ours that has any, but the audit log: it says what was purged."""
    models = [model for app in ("projects", "training") for model in apps.get_app_config(app).get_models()]
    models.remove(AuditEvent)
    return {model.__name__: count for model in models if (count := model._default_manager.count())}


def fill(project: Project) -> list[str]:
    """Give the project a row of every kind that others refer to; the names of its files."""
    alice = make_user("alice")
    image = project.images.first()
    assert image is not None
    event = actions.apply(project, [image.pk], add=["rose"], by=alice)
    assert event is not None
    undo.undo(event, alice)
    first = make_version(project, 1, Status.COMPLETED)
    second = make_version(project, 2, Status.COMPLETED, incremental_version=first)
    evaluation = VersionEvaluation.objects.create(training_version=second, source=project, name="all")
    answered = {
        "image": image,
        "truth": [],
        "predicted": [],
        "scores": [],
        "confidence": 0.0,
        "is_correct": False,
    }
    evaluation.images.create(**answered)
    EvaluatedImage.objects.create(training_version=first, **answered)
    service = Service.objects.create(project=project, training_version=first, name="exeML-1")
    batch = Batch.objects.create(service=service, training_version=first, name="a.zip")
    call = CollectedCall.objects.create(
        id=uuid4(),
        service=service,
        training_version=second,
        file_name=f"services/{service.pk}/x",
        sha256="0",
        confidence=0.9,
    )
    transfer = Transfer.objects.create(project=project, kind=Transfer.Kind.ZIP, by=alice)
    names = [
        image.file_name,
        image.thumbnail_name,
        f"training/{first.pk}/bundle/model.onnx",
        f"batches/{batch.pk}/results.jsonl",
        f"datasets/{project.pk}/V001.manifest",
        f"transfers/{transfer.pk}/0/00000",
        call.file_name,
    ]
    for name in names:
        if not default_storage.exists(name):
            default_storage.save(name, ContentFile(b"x"))
    return names


def delete(project: Project, days_ago: float) -> None:
    Project.objects.filter(pk=project.pk).update(deleted_at=timezone.now() - timedelta(days=days_ago))


def test_a_project_deleted_long_ago_goes_with_everything_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = make_project("kept", images=2, with_files=True)
    kept_files, before = fill(kept), rows()
    gone = make_project("gone", images=3, with_files=True)
    files = fill(gone)
    delete(gone, days_ago=31)
    monkeypatch.setattr(purge, "ROWS_AT_ONCE", 2)

    assert purge.purge(gone.pk)

    assert rows() == before
    assert not any(default_storage.exists(name) for name in files)
    assert all(default_storage.exists(name) for name in kept_files)
    assert not purge.purge(gone.pk), "a second purge finds nothing"


def test_a_project_that_is_not_deleted_or_was_restored_stays() -> None:
    project = make_project(images=2, with_files=True)

    assert not purge.purge(project.pk)

    assert Image.objects.filter(project=project).count() == 4
    assert default_storage.exists(project.images.first().file_name)  # type: ignore[union-attr]


def test_only_projects_past_their_days_are_purged(redis: Any, settings: Any) -> None:
    settings.EXEML_BIN_DAYS = 10
    for name, days in (("old", 10.1), ("young", 9.9)):
        delete(make_project(name, labels=0), days)
    make_project("alive", labels=0)

    assert purge.purge_deleted_projects() == 1


def test_versions_of_a_purged_project_are_not_seen_by_sweeps() -> None:
    project = make_project(labels=0)
    make_version(project, 1, Status.RUNNING)
    delete(project, days_ago=40)

    purge.purge(project.pk)

    assert not TrainingVersion.objects.exists()

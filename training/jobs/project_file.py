"""What trainings give to a project file: Completed versions with their model, figures and predictions."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from django.db.models import QuerySet

from exeml_site.lib import storage
from projects.backup.archive import BadArchive
from projects.backup.rows import Row
from projects.models import Image, Project
from projects.transfers.project_file.tables import NewProject, ProjectFilePart, ProjectTable
from training.models import (
    Candidate,
    Curve,
    EvaluatedImage,
    InstanceFlavor,
    LaterPrediction,
    Metric,
    SelectedImage,
    Status,
    TrainingVersion,
    VersionEvaluation,
)

MAX_MODEL_FILE_BYTES = 4 << 30
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
WEIGHTS = "weights.pt"
NOT_OF_A_FILE = frozenset(  # of the job, or new for the new row
    {
        *(
            "job_id",
            "submission",
            "promoted_candidate_id",
            "flavor_id",
            "export",
            "claimed_attempt",
            "attempt",
        ),
        *("heartbeat_at", "traceback", "stop_requested_at", "stop_requested_by_id"),
    }
)
NOT_OF_A_JOB = frozenset({"heartbeat_at", "traceback", "images_file", "query", "is_cancel_wanted"})


def _versions(project: Project) -> QuerySet[TrainingVersion]:
    return TrainingVersion.objects.completed().filter(project=project)


def _tests(project: Project) -> QuerySet[VersionEvaluation]:
    """Results of test images; other evaluations may be of other projects."""
    tests = VersionEvaluation.objects.completed().filter(kind=VersionEvaluation.Kind.TEST)
    return tests.filter(training_version__in=_versions(project))


def _adapt_version(row: Row, to: NewProject) -> None:
    if row["status"] != Status.COMPLETED or row["deleted_at"] is not None:
        raise BadArchive("The file is refused: it has a training version that is not Completed.")
    row["flavor_id"] = InstanceFlavor.objects.filter(is_default=True).values_list("pk", flat=True).first()
    given = row["progress"]
    row["progress"] = {
        "charts": [],
        "notes": [str(note)[:500] for note in given.get("notes", []) if isinstance(note, str)],
        **{name: given[name] for name in ("unreadable", "seen_before") if isinstance(given.get(name), int)},
    }


def _adapt_test(row: Row, to: NewProject) -> None:
    if row["status"] != VersionEvaluation.Status.COMPLETED or row["kind"] != VersionEvaluation.Kind.TEST:
        raise BadArchive("The file is refused: it has an evaluation that is not Completed.")


def _of_versions(model: Any) -> ProjectTable:
    return ProjectTable(
        model, lambda project: model._base_manager.filter(training_version__in=_versions(project))
    )


def _files(project: Project) -> Iterator[tuple[str, str]]:
    """The files of the models; charts are left out, since an SVG can hold more than a drawing."""
    for version in _versions(project).order_by("pk"):
        try:
            _, names = default_storage.listdir(f"{version.folder}/bundle")
        except FileNotFoundError:
            continue
        for name in sorted(names):
            yield f"{version.folder}/bundle/{name}", f"models/{version.pk}/{name}"


def _store(to: NewProject) -> None:
    """Store the models under the keys of the new versions."""
    versions = to.keys[TrainingVersion._meta.label_lower]
    for name in list(to.members):
        folder, _, rest = name.partition("/")
        old, _, file_name = rest.partition("/")
        if folder != "models":
            continue
        if not old.isdecimal() or int(old) not in versions or not FILE_NAME.fullmatch(file_name):
            raise BadArchive(f"The file is refused: {name[:100]} belongs to no training version.")
        _store_file(to, name, f"training/{versions[int(old)]}/bundle/{file_name}")


def _store_file(to: NewProject, name: str, target: str) -> None:
    member = to.members[name]
    if member.size > MAX_MODEL_FILE_BYTES:
        raise BadArchive(f"The file is refused: {name[:100]} is too large.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        with path.open("wb") as file:
            for chunk in to.archive.chunks(member):
                file.write(chunk)
        if name.endswith(f"/{WEIGHTS}"):
            _rename_trained_on(path, to.keys[Image._meta.label_lower])
        with path.open("rb") as content:
            storage.save_whole(target, content)


def _rename_trained_on(path: Path, images: dict[int, int]) -> None:
    from training.engine.bundle.writer import rename_trained_on
    from training.engine.config import EngineError

    try:
        rename_trained_on(path, {str(old): str(new) for old, new in images.items()})
    except EngineError as problem:
        raise BadArchive("The file is refused: the weights of a model cannot be read.") from problem


PART = ProjectFilePart(
    tables=(
        ProjectTable(TrainingVersion, _versions, NOT_OF_A_FILE, _adapt_version),
        ProjectTable(
            Candidate,
            lambda project: Candidate.objects.filter(training_version__in=_versions(project)),
            frozenset({"place"}),  # the weights of candidates stay behind
        ),
        _of_versions(Metric),
        _of_versions(EvaluatedImage),
        _of_versions(LaterPrediction),
        _of_versions(Curve),
        ProjectTable(VersionEvaluation, _tests, NOT_OF_A_JOB, _adapt_test),
        ProjectTable(
            SelectedImage, lambda project: SelectedImage.objects.filter(evaluation__in=_tests(project))
        ),
    ),
    files=_files,
    store=_store,
)

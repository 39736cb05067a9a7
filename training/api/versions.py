"""Training versions: start, watch, stop, continue, describe and delete them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.pages import Key, PageParams, page_of
from projects.datasets.publish import DatasetNameTaken
from projects.forms.datasets import DEFAULT_RATIO
from projects.forms.fields import plain_number
from projects.models import Project, Role, Scope
from training.evaluation.best_version import with_overall_metrics
from training.forms.configuration import (
    DEFAULT_HOURS,
    TrainingConfigurationForm,
    default_of,
    whole_minutes,
)
from training.forms.versions import AddTimeForm, VersionNoteForm
from training.models import Hardware, Status, TrainingVersion
from training.versions import lifecycle
from training.versions.progress_view import progress_of

router = Router(tags=["Training versions"])
VERSIONS = "/projects/{int:project_id}/versions"
VERSION = VERSIONS + "/{int:number}"


class ProgressOut(Schema):
    message: str = Field(description="What is going on, in the words of the page.")
    elapsed_s: float
    limit_s: float = Field(description="The max. training time.")
    remaining_s: float | None = Field(description="An estimate; null while there is none.")
    share: float | None = Field(description="Of the training, by this estimate.")
    best_accuracy: float | None = Field(description="Of the best model so far, on `judged_count` images.")
    judged_count: int | None
    notes: list[str]
    is_stopping: bool

    @classmethod
    def of(cls, version: TrainingVersion) -> ProgressOut:
        live = progress_of(version)
        return cls(
            message=live.message,
            elapsed_s=live.elapsed_s,
            limit_s=live.limit_s,
            remaining_s=live.remaining_s,
            share=live.fraction,
            best_accuracy=live.best_accuracy,
            judged_count=live.judged,
            notes=live.notes,
            is_stopping=live.is_stopping,
        )


class VersionOut(Schema):
    """A training version; what is not known yet is null or empty."""

    number: int = Field(description="Of the version in its project; addresses name it.")
    name: str = Field(description="As pages show it: V001.")
    status: Status
    title: str
    note: str
    is_starred: bool
    dataset_version: str
    training_ratio: float
    incremental_version: int | None = Field(description="The number of the version that it continues.")
    promoted_from: int | None = Field(description="The number of the version whose candidate it is.")
    inference_hardware: Hardware
    max_inference_ms: int
    max_training_hours: float
    instance_flavor: int = Field(description="The id of the flavor.")
    flavor_name: str
    submitted_by: str | None
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    stop_reason: str = Field(description="Of a Completed one: converged, time limit, user, promoted.")
    failure_cause: str
    failure_remedy: str
    ran_on: str
    model_name: str
    model_bytes: int | None
    inference_ms: float | None = Field(description="The time of a single image.")
    accuracy: float | None = Field(description="Of its own evaluation.")
    precision: float | None = Field(description="The macro average, of its own evaluation.")

    @classmethod
    def of(cls, version: Any) -> VersionOut:
        """`version` comes from `versions_of`."""
        return cls(**cls._values(version))

    @staticmethod
    def _values(version: Any) -> dict[str, Any]:
        candidate = version.promoted_candidate
        same = (
            *("number", "name", "status", "title", "note", "is_starred", "inference_hardware"),
            *("max_inference_ms", "flavor_name", "submitted_at", "started_at", "finished_at", "attempt"),
            *("stop_reason", "failure_cause", "failure_remedy", "ran_on", "model_name", "model_bytes"),
            *("inference_ms", "accuracy", "precision"),
        )
        return {name: getattr(version, name) for name in same} | {
            "dataset_version": version.dataset_version.name,
            "training_ratio": float(version.training_ratio),
            "incremental_version": version.incremental_version and version.incremental_version.number,
            "promoted_from": candidate and candidate.training_version.number,
            "max_training_hours": version.max_training_minutes / 60,
            "instance_flavor": version.flavor_id,
            "submitted_by": version.submitted_by and version.submitted_by.get_username(),
        }


class OnnxOut(Schema):
    """The ONNX export. Empty: nobody requested it, or the answer settings changed since."""

    state: Literal["", "making", "made", "failed"]
    size_bytes: int | None
    problem: str

    @classmethod
    def of(cls, version: TrainingVersion) -> OnnxOut:
        export = version.export
        problem = export.get("problem", "")
        return cls(state=export.get("state", ""), size_bytes=export.get("bytes"), problem=problem)


class VersionWithProgress(VersionOut):
    """A training version, with its progress while it waits or runs."""

    progress: ProgressOut | None
    onnx: OnnxOut

    @classmethod
    def of(cls, version: Any) -> VersionWithProgress:
        progress = ProgressOut.of(version) if version.is_active else None
        return cls(**cls._values(version), progress=progress, onnx=OnnxOut.of(version))


class VersionPage(Schema):
    items: list[VersionOut]
    next: str | None


class TrainingCreation(Body):
    """The fields of Training Configuration; what is left out gets the default of the page."""

    dataset_version: str | None = Field(
        None, description="A new name, under which the current labels are published; by default V001, V002 …"
    )
    training_ratio: float = Field(float(DEFAULT_RATIO), description="Above 0 and below 1.")
    incremental_version: Key | None = Field(
        None,
        description="The number of a Completed version to continue, whose inference hardware and duration it "
        "keeps.",
    )
    inference_hardware: str = Field(default_of("inference_hardware"), description="NV_P4 or CPU.")
    max_inference_ms: int = Field(default_of("max_inference_ms"), description="1 to 20000.")
    max_training_hours: float = Field(float(DEFAULT_HOURS), description="0.1 to 100.")
    instance_flavor: Key | None = Field(
        None, description="The id of a flavor; by default the one that `list_flavors` marks."
    )

    def typed(self, project: Project) -> dict[str, Any]:
        """The values as the page sends them."""
        given = self.dict(exclude_none=True)
        if self.incremental_version is not None:
            chosen = project.training_versions.filter(number=self.incremental_version).first()
            given["incremental_version"] = chosen.pk if chosen else 0
        defaults = TrainingConfigurationForm(project=project).initial
        typed = {
            name: plain_number(value) if isinstance(value, float) else str(value)
            for name, value in given.items()
        }
        return {**defaults, **typed}


class VersionChange(Body):
    """What the team notes about a version; what is left out stays."""

    title: str | None = None
    note: str | None = None
    is_starred: bool | None = None


class MoreTime(Body):
    more_hours: float = Field(1, description="0.1 to 100.")


class Promotion(Body):
    candidate_id: Key = Field(description="Of `list_candidates`.")


# --- Versions ---


def versions_of(project: Project) -> Any:
    """The versions that are not deleted, with the rows and numbers that an answer needs."""
    versions = TrainingVersion.objects.alive().filter(project=project)
    return with_overall_metrics(versions).select_related(
        "flavor",
        "dataset_version",
        "incremental_version",
        "promoted_candidate__training_version",
        "submitted_by",
    )


def version_of(project: Project, number: int) -> Any:
    """One version. Raises Problem."""
    version = versions_of(project).filter(number=number).first()
    if version is None:
        raise problems.not_found()
    version.project = project
    return version


def completed_version_of(project: Project, number: int) -> Any:
    """One Completed version. Raises Problem for another, which has neither an evaluation nor a model."""
    version = version_of(project, number)
    if not version.is_completed:
        raise problems.not_found(f"{version} is {version.status}. Only a Completed version has this.")
    return version


@router.get(VERSIONS, response=VersionPage, url_name="api_versions")
@project_call(Role.VIEWER, Scope.READ)
def list_versions(
    request: ApiRequest,
    project: Project,
    params: Query[PageParams],
    status: Status | None = None,
    is_starred: bool | None = None,
) -> VersionPage:
    """The training versions of a project, the newest first."""
    versions = versions_of(project)
    if status is not None:
        versions = versions.filter(status=status)
    if is_starred is not None:
        versions = versions.filter(is_starred=is_starred)
    rows, cursor = page_of(versions, params)
    return VersionPage(items=[VersionOut.of(row) for row in rows], next=cursor)


@router.post(VERSIONS, response=VersionWithProgress)
@project_call(Role.MANAGER, Scope.TRAIN)
@once
def start_training(request: ApiRequest, project: Project, body: TrainingCreation) -> VersionWithProgress:
    """Publish the current labels as a dataset version and train on it, in a worker."""
    form = TrainingConfigurationForm(body.typed(project), project=project)
    if not form.is_valid():
        raise problems.of_form(form)
    try:
        version = lifecycle.start(project, form.request(), by=request.user, submission=uuid.uuid4())
    except DatasetNameTaken as taken:
        raise problems.invalid_field("dataset_version", taken) from taken
    return _answer(version)


@router.get(VERSION, response=VersionWithProgress)
@project_call(Role.VIEWER, Scope.READ)
def show_version(request: ApiRequest, project: Project, number: int, fields: str = "") -> VersionWithProgress:
    """One training version, with its progress while it waits or runs. Ask again every few seconds."""
    return VersionWithProgress.of(version_of(project, number))


@router.patch(VERSION, response=VersionWithProgress)
@project_call(Role.LABELER, Scope.TRAIN)
def change_version_note(
    request: ApiRequest, project: Project, number: int, body: VersionChange
) -> VersionWithProgress:
    """Change the name, the note and the star, which the whole team shares."""
    version = version_of(project, number)
    if given := body.dict(include={"title", "note"}, exclude_none=True):
        form = VersionNoteForm({"title": version.title, "note": version.note} | given)
        if not form.is_valid():
            raise problems.of_form(form)
        lifecycle.set_title_and_note(version, form.cleaned_data["title"], form.cleaned_data["note"])
    if body.is_starred is not None:
        lifecycle.set_starred(version, body.is_starred)
    return _answer(version)


@router.delete(VERSION, response={204: None})
@project_call(Role.MANAGER, Scope.TRAIN)
def delete_version(request: ApiRequest, project: Project, number: int) -> None:
    """Delete a version that is neither active nor deployed, with its model and evaluation."""
    lifecycle.delete(version_of(project, number), request.user)


# --- Trainings ---


@router.post(VERSION + "/stop", response=VersionWithProgress)
@project_call(Role.MANAGER, Scope.TRAIN)
def stop_training(request: ApiRequest, project: Project, number: int) -> VersionWithProgress:
    """End a waiting training at once; a running one soon, with the best model so far."""
    version = version_of(project, number)
    if not lifecycle.stop(version, request.user):
        version.refresh_from_db()
        if version.is_final:
            raise lifecycle.TrainingRefused(lifecycle.nothing_to_stop(version))
    return _answer(version)


@router.post(VERSION + "/retry", response=VersionWithProgress)
@project_call(Role.MANAGER, Scope.TRAIN)
def retry_training(request: ApiRequest, project: Project, number: int) -> VersionWithProgress:
    """Train a Failed or Stopped version again, with the same configuration and images."""
    version = version_of(project, number)
    if not lifecycle.retry(version, request.user):
        raise lifecycle.TrainingRefused(lifecycle.unchanged_text(version))
    return _answer(version)


@router.post(VERSION + "/add-time", response=VersionWithProgress)
@project_call(Role.MANAGER, Scope.TRAIN)
@once
def add_training_time(
    request: ApiRequest, project: Project, number: int, body: MoreTime
) -> VersionWithProgress:
    """Continue a Completed version on the same images. The answer is the new version."""
    version, submission = version_of(project, number), uuid.uuid4()
    form = AddTimeForm({"more_hours": plain_number(body.more_hours), "submission": submission})
    if not form.is_valid():
        raise problems.of_form(form)
    minutes = whole_minutes(form.cleaned_data["more_hours"])
    return _answer(lifecycle.add_time(version, minutes, by=request.user, submission=submission))


@router.post(VERSION + "/promote", response=VersionWithProgress)
@project_call(Role.MANAGER, Scope.TRAIN)
@once
def promote_candidate(
    request: ApiRequest, project: Project, number: int, body: Promotion
) -> VersionWithProgress:
    """Make another candidate of a Completed version a version of its own. The answer is the new version."""
    version = version_of(project, number)
    candidate = version.candidates.filter(pk=body.candidate_id).first()
    if candidate is None:
        raise problems.invalid_field("candidate_id", f"{version} has no such candidate.")
    candidate.training_version = version
    return _answer(lifecycle.promote(candidate, by=request.user, submission=uuid.uuid4()))


def _answer(version: TrainingVersion) -> VersionWithProgress:
    """The row as it is stored now."""
    return VersionWithProgress.of(version_of(version.project, version.number))

"""Dataset versions: the labeled images of one moment, their differences, and restoring their labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.http import HttpResponseBase
from ninja import Field, Query, Router, Schema

from exeml_site.lib.errors import Refused
from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.downloads import file_answer
from projects.api.core.idempotency import once
from projects.api.core.pages import PageParams, page_of, slice_of
from projects.datasets import compare
from projects.datasets.leakage import ratio_note
from projects.datasets.publish import DatasetNameTaken, ManifestDamaged, publish_as
from projects.datasets.responses import manifest_response
from projects.forms.datasets import DEFAULT_RATIO, PublicationForm
from projects.forms.fields import plain_number
from projects.labels.parts import count_images
from projects.models import DatasetVersion, Project, Role, Scope, Split

router = Router(tags=["Dataset versions"])
VERSIONS = "/projects/{int:project_id}/dataset-versions"
VERSION = VERSIONS + "/{dataset_name}"
MANIFEST = file_answer("text/plain", description="JSON Lines, in the format of ModelArts.")
DifferenceKind = StrEnum("DifferenceKind", list(compare.DIFFERENCE_KINDS))  # type: ignore[misc]


class DatasetVersionOut(Schema):
    """A dataset version. One that a training has not published yet has no images."""

    name: str
    training_ratio: float
    created_by: str | None
    created_at: datetime
    published_at: datetime | None
    sha256: str = Field(description="Of the manifest.")
    image_count: int
    training_image_count: int
    validation_image_count: int
    test_image_count: int

    @classmethod
    def of(cls, version: DatasetVersion) -> DatasetVersionOut:
        return cls(**cls._values(version))

    @staticmethod
    def _values(version: DatasetVersion) -> dict[str, Any]:
        return {
            "name": version.name,
            "training_ratio": float(version.training_ratio),
            "created_by": version.created_by.get_username() if version.created_by else None,
            "created_at": version.created_at,
            "published_at": version.published_at,
            "sha256": version.sha256,
            "image_count": version.image_count,
            "training_image_count": version.train_count,
            "validation_image_count": version.eval_count,
            "test_image_count": version.test_count,
        }


class SplitCounts(Schema):
    label: str
    training_image_count: int
    validation_image_count: int
    test_image_count: int


class DatasetVersionDetail(DatasetVersionOut):
    """A dataset version with its labels."""

    labels: list[SplitCounts]
    ratio_note: str = Field(description="How earlier splits, which are kept, miss the ratio; or empty.")

    @classmethod
    def of(cls, version: DatasetVersion) -> DatasetVersionDetail:
        labels = [
            SplitCounts(
                label=label,
                training_image_count=counts[Split.TRAIN],
                validation_image_count=counts[Split.EVAL],
                test_image_count=counts.get(Split.TEST, 0),
            )
            for label, counts in sorted(version.counts.items())
        ]
        note = ratio_note(version.split, version.training_ratio) if version.split else ""
        return cls(**cls._values(version), labels=labels, ratio_note=note)


class DatasetVersionPage(Schema):
    items: list[DatasetVersionOut]
    next: str | None


class VersionImageOut(Schema):
    split: Split
    labels: list[str]

    @classmethod
    def of(cls, image: compare.VersionImage | None) -> VersionImageOut | None:
        return cls(split=Split(image.usage), labels=list(image.labels)) if image else None


class DifferenceOut(Schema):
    """An image that differs; null where a version does not contain it."""

    image_id: int
    kind: DifferenceKind
    before: VersionImageOut | None
    after: VersionImageOut | None


class DifferenceParams(PageParams):
    with_: str = Field(alias="with", description="The name of the version to compare with.")
    kind: DifferenceKind | None = Field(None, description="Only differences of this kind.")


class DifferencePage(Schema):
    items: list[DifferenceOut]
    next: str | None
    counts: dict[str, int] = Field(description="The differences of each kind.")


class Publication(Body):
    """What is left out gets the default of Training Configuration."""

    name: str | None = Field(None, description="A new name; by default V001, V002 …")
    training_ratio: float = Field(float(DEFAULT_RATIO), description="Above 0 and below 1.")


class Restoring(Body):
    unlabel_others: bool = Field(False, description="Remove the labels of all other images.")


class RestoringPreview(Schema):
    """What restoring the labels would change now."""

    relabeled_count: int
    other_labeled_count: int = Field(description="Labeled images outside the version: `unlabel_others`.")
    gone_count: int = Field(description="Images of the version that are in the bin or deleted.")
    missing_labels: list[str] = Field(description="Labels that would be created again.")


class Restored(Schema):
    image_count: int
    event_ids: list[int] = Field(description="The actions in History, which can be undone.")


def _versions(project: Project) -> Any:
    return DatasetVersion.objects.filter(project=project).select_related("created_by")


def _version(project: Project, name: str) -> DatasetVersion:
    """Raises Problem."""
    version: DatasetVersion | None = _versions(project).filter(name__iexact=name).first()
    if version is None:
        raise problems.not_found()
    version.project = project
    return version


def _published(project: Project, name: str) -> DatasetVersion:
    """Raises Problem also for a version that is not published yet."""
    version = _version(project, name)
    if not version.is_published:
        raise problems.not_found(f"{version} is not published yet.")
    return version


@contextmanager
def _reading_manifest() -> Iterator[None]:
    """A manifest that is missing or was changed becomes a problem."""
    try:
        yield
    except ManifestDamaged as damaged:
        raise problems.refused(Refused(str(damaged))) from damaged


@router.get(VERSIONS, response=DatasetVersionPage, url_name="api_dataset_versions")
@project_call(Role.VIEWER, Scope.READ)
def list_dataset_versions(
    request: ApiRequest, project: Project, params: Query[PageParams]
) -> DatasetVersionPage:
    """The dataset versions of a project, the newest first."""
    rows, cursor = page_of(_versions(project).defer("counts", "split", "statistics"), params)
    return DatasetVersionPage(items=[DatasetVersionOut.of(row) for row in rows], next=cursor)


@router.post(VERSIONS, response=DatasetVersionDetail)
@project_call(Role.MANAGER, Scope.TRAIN)
@once
def publish_dataset_version(request: ApiRequest, project: Project, body: Publication) -> DatasetVersionDetail:
    """Publish the current labels as a dataset version, without a training, and split what is not split yet.

    A training publishes one of its own.
    """
    defaults = PublicationForm(project=project).initial
    name = defaults["dataset_version"] if body.name is None else body.name
    typed = {"dataset_version": name, "training_ratio": plain_number(body.training_ratio)}
    form = PublicationForm(typed, project=project)
    if not form.is_valid():
        errors = problems.of_form(form).errors
        named = {"dataset_version": "name"}
        raise problems.invalid(
            [{**error, "field": named.get(error["field"], error["field"])} for error in errors]
        )
    name, ratio = form.cleaned_data["dataset_version"], form.cleaned_data["training_ratio"]
    try:
        version = publish_as(project, name, ratio, by=request.user)
    except DatasetNameTaken as taken:
        raise problems.invalid_field("name", taken) from taken
    return DatasetVersionDetail.of(version)


@router.get(VERSION, response=DatasetVersionDetail)
@project_call(Role.VIEWER, Scope.READ)
def show_dataset_version(
    request: ApiRequest, project: Project, dataset_name: str, fields: str = ""
) -> DatasetVersionDetail:
    """One dataset version, with the images of each label."""
    return DatasetVersionDetail.of(_version(project, dataset_name))


@router.get(VERSION + "/manifest", openapi_extra=MANIFEST)
@project_call(Role.VIEWER, Scope.READ)
def get_manifest(request: ApiRequest, project: Project, dataset_name: str) -> HttpResponseBase:
    """The manifest exactly as it was published: images, labels and split."""
    with _reading_manifest():
        return manifest_response(_published(project, dataset_name))


@router.get(VERSION + "/compare", response=DifferencePage)
@project_call(Role.VIEWER, Scope.READ)
def compare_dataset_versions(
    request: ApiRequest,
    project: Project,
    dataset_name: str,
    params: Query[DifferenceParams],
) -> DifferencePage:
    """The changes from the version `with` to this one."""
    new = _published(project, dataset_name)
    if not (old := _versions(project).filter(name__iexact=params.with_, published_at__isnull=False).first()):
        raise problems.invalid_field("with", f"There is no published dataset version “{params.with_}”.")
    with _reading_manifest():
        found = compare.differences(old, new)
    kinds = [params.kind.value] if params.kind else list(compare.DIFFERENCE_KINDS)
    differences = [(name, each) for name in kinds for each in found.of(name)]
    rows, cursor = slice_of(differences, params)
    items = [
        DifferenceOut(
            image_id=each.image_id,
            kind=DifferenceKind(name),
            before=VersionImageOut.of(each.before),
            after=VersionImageOut.of(each.after),
        )
        for name, each in rows
    ]
    return DifferencePage(items=items, next=cursor, counts={name: images for name, _, images in found.counts})


@router.get(VERSION + "/restore", response=RestoringPreview)
@project_call(Role.MANAGER, Scope.READ)
def preview_restore(
    request: ApiRequest, project: Project, dataset_name: str, fields: str = ""
) -> RestoringPreview:
    """What restoring the labels of a dataset version would change now."""
    with _reading_manifest():
        preview = compare.preview_restore(_published(project, dataset_name))
    return RestoringPreview(
        relabeled_count=preview.relabeled,
        other_labeled_count=preview.unlabeled,
        gone_count=preview.gone,
        missing_labels=preview.missing_labels,
    )


@router.post(VERSION + "/restore", response=Restored)
@project_call(Role.MANAGER, Scope.TRAIN)
def restore_labels(request: ApiRequest, project: Project, dataset_name: str, body: Restoring) -> Restored:
    """Set the labels of the version's images back, as actions that can be undone."""
    version = _published(project, dataset_name)
    with _reading_manifest():
        events = compare.restore_labels(version, request.user, unlabel_others=body.unlabel_others)
    return Restored(image_count=sum(map(count_images, events)), event_ids=[event.pk for event in events])

"""Imports and exports: archives, label files, tables and the data source in, images and labels out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Count
from django.forms import BaseForm
from django.http import HttpResponseBase
from ninja import Field, File, Form, Router, Schema
from ninja import Query as QueryString
from ninja.files import UploadedFile

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body, check_form
from projects.api.core.downloads import file_answer
from projects.api.core.idempotency import once
from projects.api.core.image_selection import ImageFilter, check_names, query_of
from projects.api.core.pages import PageParams, page_of
from projects.forms.import_review import ImportReviewForm
from projects.forms.transfers import (
    EXISTING_CHOICES,
    TESTS_CHOICES,
    DataSourceForm,
    ExportForm,
    ImportForm,
)
from projects.models import DataSource, Project, RejectedFile, Role, Scope, Transfer
from projects.transfers import data_source, imports
from projects.transfers.export import CONTENT_TYPES, ExportFormat
from projects.transfers.import_plan import LabelsFrom
from projects.transfers.responses import export_response
from projects.transfers.summary import TransferSummary
from projects.transfers.texts.reasons import translated

router = Router(tags=["Imports and exports"])
IMPORTS = "/projects/{int:project_id}/imports"
IMPORT = IMPORTS + "/{int:transfer_id}"
SOURCE = "/projects/{int:project_id}/data-source"
NO_FILES: list[UploadedFile] = []
NO_SOURCE = "The project has no data source. A Manager chooses it."
EXPORT_TYPES = sorted({"application/zip", *CONTENT_TYPES.values()})


class ReviewField(Schema):
    """A choice of an import that waits for a review."""

    name: str
    label: str
    value: str | bool | int | list[int] | None
    choices: list[tuple[str | int, str]] = Field(description="Value and text; empty where any text can be.")


class TransferOut(Schema):
    """An import. In the status Review it waits for `begin_import`."""

    id: int
    kind: Transfer.Kind
    status: Transfer.Status
    file_name: str
    by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    done_count: int
    total_count: int = Field(description="The files and rows to work through; 0 while it is not known.")
    remaining_s: float | None
    is_cancelling: bool
    problem: str = Field(description="Why it failed, and what to do.")
    counts: dict[str, int] = Field(description="Images: added, present, duplicate, labeled, refused …")
    file_counts: dict[str, int] = Field(description="What became of the files of the archive.")
    labels_from: str
    merged_labels: dict[str, str] = Field(
        description="Spelling in the import → label, where only upper and lower case differ."
    )
    refused_count: int = Field(description="The files of `list_refused_files`.")
    missing_image_ids: list[int] = Field(description="Images that are not in the data source any more.")

    @classmethod
    def of(cls, transfer: Any) -> TransferOut:
        """`transfer` comes from `_transfers`."""
        return cls(**cls._values(transfer))

    @staticmethod
    def _values(transfer: Any) -> dict[str, Any]:
        summary, report = TransferSummary(transfer), transfer.report
        return {
            "id": transfer.pk,
            **{name: getattr(transfer, name) for name in ("kind", "status", "file_name", "created_at")},
            **{name: getattr(transfer, name) for name in ("started_at", "finished_at")},
            "by": transfer.by and transfer.by.get_username(),
            "done_count": transfer.cursor,
            "total_count": transfer.total,
            "remaining_s": summary.seconds_left,
            "is_cancelling": transfer.is_cancel_wanted and transfer.is_active,
            "problem": summary.problem,
            "counts": report.get("counts", {}),
            "file_counts": report.get("files", {}),
            "labels_from": report.get("labels_from", ""),
            "merged_labels": report.get("merged_labels", {}),
            "refused_count": transfer.refused_count,
            "missing_image_ids": report.get("vanished", []),
        }


class TransferDetail(TransferOut):
    """An import with the choices of its review; there are none unless it is in Review."""

    doubts: list[str] = Field(description="What to look at.")
    review: list[ReviewField]

    @classmethod
    def of(cls, transfer: Any) -> TransferDetail:
        form = _review_form(transfer)
        return cls(
            **cls._values(transfer),
            doubts=form.preview.get("doubts", []) if form else [],
            review=_review_fields(form) if form else [],
        )


class TransferPage(Schema):
    items: list[TransferOut]
    next: str | None


class ImportOptions(Schema):
    """The options of Import, with the defaults of the page; nobody is asked unless `is_shown` says so."""

    source: bool = Field(False, description="Import from the project's data source; without any file.")
    labels_from: str = Field(LabelsFrom.AUTOMATIC.value, json_schema_extra={"enum": list(LabelsFrom.values)})
    existing: str = Field(
        "keep",
        description="What becomes of images that already have labels.",
        json_schema_extra={"enum": list(EXISTING_CHOICES)},
    )
    tests: str = Field(
        "",
        description="What becomes of images that folders or label files call test images.",
        json_schema_extra={"enum": ["", *TESTS_CHOICES]},
    )
    is_shown: bool = Field(False, description="Show in `review` what was found, and wait for `begin_import`.")
    addresses: str = Field("", description="The beginning of the addresses in a manifest.")
    folder: str = Field("", description="The folder for these addresses.")


class ImportChoices(Body):
    """Choices by the names of `review`; what is left out stays as it was found."""

    choices: dict[str, str | bool | int | list[int]] = Field(default_factory=dict)
    look_again: bool = Field(False, description="Read the files again with them, and wait for a review.")


class RefusedFileOut(Schema):
    name: str
    reason: str

    @classmethod
    def of(cls, row: RejectedFile) -> RefusedFileOut:
        return cls(name=row.name, reason=translated(row.reason))


class RefusedFilePage(Schema):
    items: list[RefusedFileOut]
    next: str | None


class DataSourceOut(Schema):
    """The folder of the server, or the prefix of S3, that the project imports from."""

    address: str
    has_folder_labels: bool = Field(description="The folder of an image is its label.")
    chosen_by: str | None
    synchronized_at: datetime | None

    @classmethod
    def of(cls, source: DataSource) -> DataSourceOut:
        same = ("address", "has_folder_labels", "synchronized_at")
        return cls(
            chosen_by=source.chosen_by.get_username() if source.chosen_by else None,
            **{name: getattr(source, name) for name in same},
        )


class DataSourceChoice(Body):
    address: str = Field(description="Below one of the locations that operators allow.")
    has_folder_labels: bool = Field(False, description="The folder of an image is its label.")


class ChosenDataSource(Schema):
    data_source: DataSourceOut
    started_import: TransferDetail = Field(description="It reads the data source.")


class TakenBack(Schema):
    image_count: int = Field(description="The images that were moved to the bin.")


# --- Imports ---


def _transfers(project: Project) -> Any:
    """The imports of a project whose files have arrived, with what an answer needs."""
    transfers = Transfer.objects.filter(project=project).exclude(status=Transfer.Status.UPLOADING)
    return transfers.select_related("by").annotate(refused_count=Count("rejected_files"))


def _transfer(project: Project, transfer_id: int) -> Any:
    """Raises Problem."""
    transfer = _transfers(project).filter(pk=transfer_id).first()
    if transfer is None:
        raise problems.not_found()
    transfer.project = project
    return transfer


def _answer(transfer: Transfer) -> TransferDetail:
    """The row as it is stored now."""
    return TransferDetail.of(_transfer(transfer.project, transfer.pk))


@router.get(IMPORTS, response=TransferPage, url_name="api_imports")
@project_call(Role.VIEWER, Scope.READ)
def list_imports(request: ApiRequest, project: Project, params: QueryString[PageParams]) -> TransferPage:
    """The imports of a project, the newest first."""
    rows, cursor = page_of(_transfers(project), params)
    return TransferPage(items=[TransferOut.of(row) for row in rows], next=cursor)


@router.post(IMPORTS, response=TransferDetail)
@project_call(Role.LABELER, Scope.LABEL)
@once
def start_import(
    request: ApiRequest,
    project: Project,
    options: Form[ImportOptions],
    file: File[list[UploadedFile]] = NO_FILES,
) -> TransferDetail:
    """Upload an archive, label files or tables, or read the data source, and import it in a worker."""
    check_form(request, ImportOptions.model_fields, "file")
    if options.source and not file:
        return _answer(_synchronize(request, project))
    form = ImportForm(options.dict(exclude={"source"}))
    if not form.is_valid():
        raise problems.of_form(form)
    files = [{"name": upload.name, "size": upload.size} for upload in file]
    try:
        imports.check_role([upload.name or "" for upload in file], request.membership.role)
        transfer = imports.create_import(project, files, form.options, request.user)
    except imports.ImportRefused as refusal:
        raise problems.invalid_field("file", refusal) from refusal
    imports.start_with(transfer, file)
    return _answer(transfer)


def _synchronize(request: ApiRequest, project: Project) -> Transfer:
    """Raises Problem."""
    source = DataSource.objects.filter(project=project).first()
    if source is None:
        raise problems.invalid_field("source", NO_SOURCE)
    try:
        data_source.check_address(source.address)
    except ValidationError as refusal:
        raise problems.invalid_field("source", refusal.messages[0]) from refusal
    return imports.synchronize(source, request.user)


@router.get(IMPORT, response=TransferDetail)
@project_call(Role.VIEWER, Scope.READ)
def show_import(request: ApiRequest, project: Project, transfer_id: int, fields: str = "") -> TransferDetail:
    """One import with its progress, and with what can be chosen while it waits for a review."""
    return TransferDetail.of(_transfer(project, transfer_id))


@router.post(IMPORT + "/begin", response=TransferDetail)
@project_call(Role.LABELER, Scope.LABEL)
def begin_import(
    request: ApiRequest, project: Project, transfer_id: int, body: ImportChoices
) -> TransferDetail:
    """Begin an import that waits for a review, with these choices."""
    transfer = _transfer(project, transfer_id)
    form = _review_form(transfer)
    if form is None:
        raise imports.ImportRefused("This import does not wait for a review.")
    if unknown := [name for name in body.choices if name not in form.fields]:
        raise problems.invalid_field(f"choices.{unknown[0]}", "There is no such choice.")
    found = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    chosen = {name: value for name, value in {**found, **body.choices}.items() if value is not None}
    form = ImportReviewForm(chosen, preview=transfer.report.get("preview", {}), options=transfer.options)
    if not form.is_valid():
        raise problems.invalid(
            [{**error, "field": f"choices.{error['field']}"} for error in problems.of_form(form).errors]
        )
    imports.continue_import(transfer, form.options, is_reviewed=not body.look_again)
    return _answer(transfer)


@router.post(IMPORT + "/cancel", response=TransferDetail)
@project_call(Role.LABELER, Scope.LABEL)
def cancel_import(request: ApiRequest, project: Project, transfer_id: int) -> TransferDetail:
    """Cancel an import; what it added stays. One that has ended is left as it is."""
    transfer = _transfer(project, transfer_id)
    imports.cancel_import(transfer)
    return _answer(transfer)


@router.post(IMPORT + "/take-back", response=TakenBack)
@project_call(Role.LABELER, Scope.LABEL)
def take_import_back(request: ApiRequest, project: Project, transfer_id: int) -> TakenBack:
    """Move the images that an ended import added to the bin, and undo its labels on other images."""
    return TakenBack(image_count=imports.undo_import(_transfer(project, transfer_id), request.user))


@router.get(IMPORT + "/refused", response=RefusedFilePage)
@project_call(Role.VIEWER, Scope.READ)
def list_refused_files(
    request: ApiRequest, project: Project, transfer_id: int, params: QueryString[PageParams]
) -> RefusedFilePage:
    """Every file that an import refused, or whose label it refused, with the reason."""
    rejected = RejectedFile.objects.filter(transfer=_transfer(project, transfer_id))
    rows, cursor = page_of(rejected, params, is_newest_first=False)
    return RefusedFilePage(items=[RefusedFileOut.of(row) for row in rows], next=cursor)


def _review_form(transfer: Transfer) -> ImportReviewForm | None:
    """The choices of an import that waits for a review; None for another."""
    if transfer.status != Transfer.Status.REVIEW:
        return None
    return ImportReviewForm(preview=transfer.report.get("preview", {}), options=transfer.options)


def _review_fields(form: BaseForm) -> list[ReviewField]:
    return [
        ReviewField(
            name=name,
            label=str(field.label),
            value=form.get_initial_for_field(field, name),
            choices=[(value, str(text)) for value, text in getattr(field, "choices", [])],
        )
        for name, field in form.fields.items()
    ]


# --- Data source ---


@router.get(SOURCE, response=DataSourceOut)
@project_call(Role.VIEWER, Scope.READ)
def show_data_source(request: ApiRequest, project: Project) -> DataSourceOut:
    """The data source of a project; 404 where none is chosen."""
    source = DataSource.objects.filter(project=project).select_related("chosen_by").first()
    if source is None:
        raise problems.not_found(NO_SOURCE)
    return DataSourceOut.of(source)


@router.put(SOURCE, response=ChosenDataSource)
@project_call(Role.MANAGER, Scope.ADMIN)
@once
def choose_data_source(request: ApiRequest, project: Project, body: DataSourceChoice) -> ChosenDataSource:
    """Choose the data source, and begin to import from it. `start_import` with `source` reads it again."""
    form = DataSourceForm(body.dict())
    if not form.is_valid():
        raise problems.of_form(form)
    source = data_source.set_source(project, **form.cleaned_data, by=request.user)
    transfer = imports.synchronize(source, request.user)
    return ChosenDataSource(data_source=DataSourceOut.of(source), started_import=_answer(transfer))


# --- Export ---


class ExportParams(ImageFilter):
    """The filters of Label Data choose the images; by default all but those in the bin."""

    format: str = Field(ExportFormat.ARCHIVE.value, json_schema_extra={"enum": list(ExportFormat.values)})


@router.get("/projects/{int:project_id}/export", openapi_extra=file_answer(*EXPORT_TYPES))
@project_call(Role.VIEWER, Scope.READ)
def export_images(
    request: ApiRequest, project: Project, params: QueryString[ExportParams]
) -> HttpResponseBase:
    """A file of images and labels, made while it is sent."""
    check_names(request, ExportParams)
    form = ExportForm({"format": params.format})
    if not form.is_valid():
        raise problems.of_form(form)
    query = query_of(params)
    if query.tab == "bin":
        raise problems.invalid_field("tab", "Images in the bin are not exported.")
    ids = list(query.images(project, request.user).order_by().values_list("pk", flat=True))
    return export_response(project, ids, ExportFormat(form.cleaned_data["format"]))

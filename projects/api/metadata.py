"""Metadata of images: the columns of a project, and values of many images at once."""

from __future__ import annotations

from ninja import Field, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.image_selection import ImageSelection, selected
from projects.api.images import ActionOut
from projects.datasets.never_split import effect_of, set_never_split
from projects.forms.metadata import MetadataForm
from projects.labels import metadata
from projects.models import MetadataColumn, Project, Role, Scope

router = Router(tags=["Metadata"])
COLUMNS = "/projects/{int:project_id}/metadata"
COLUMN = COLUMNS + "/{int:column_id}"


class ColumnOut(Schema):
    """A column; the numbers are of images outside the bin."""

    id: int
    name: str
    is_never_split: bool = Field(description="Images with one value go to the same split.")
    value_count: int
    image_count: int = Field(description="Images with a value.")
    missing_count: int

    @classmethod
    def of(cls, row: metadata.ColumnSummary) -> ColumnOut:
        return cls(
            id=row.column.pk,
            name=row.column.name,
            is_never_split=row.column.is_never_split,
            value_count=row.values,
            image_count=row.images,
            missing_count=row.missing,
        )


class ColumnList(Schema):
    items: list[ColumnOut]


class ColumnChange(Body):
    is_never_split: bool


class ChangedColumn(Schema):
    id: int
    name: str
    is_never_split: bool
    effect: str = Field(description="What changes in the next dataset version.")


class MetadataIn(ImageSelection):
    """Either `image_ids` or `filter`, and the value of a column that these images get."""

    column: str = Field(description="A new name makes a new column.")
    value: str = Field("", description="Empty: the images have none.")


@router.get(COLUMNS, response=ColumnList)
@project_call(Role.VIEWER, Scope.READ)
def list_metadata_columns(request: ApiRequest, project: Project) -> ColumnList:
    """The columns of metadata. The values of an image are with the image."""
    return ColumnList(items=[ColumnOut.of(row) for row in metadata.column_summaries(project)])


@router.post(COLUMNS, response=ActionOut)
@project_call(Role.LABELER, Scope.LABEL)
@once
def set_metadata(request: ApiRequest, project: Project, body: MetadataIn) -> ActionOut:
    """Set the value of a column on images, in one action that can be undone as a whole."""
    values = {"column": body.column, "value": body.value}
    chosen = selected(MetadataForm, request, project, body, values)
    if problem := metadata.room_problem(project, chosen["column"]):
        raise problems.invalid_field("column", problem)
    row = {chosen["column"]: chosen["value"]}
    return ActionOut.of(metadata.set_values(project, chosen["images"], row, request.user))


@router.patch(COLUMN, response=ChangedColumn)
@project_call(Role.MANAGER, Scope.LABEL)
def change_metadata_column(
    request: ApiRequest, project: Project, column_id: int, body: ColumnChange
) -> ChangedColumn:
    """Say whether images with one value of the column may lie in training and in validation."""
    column = _column(project, column_id)
    set_never_split(column, body.is_never_split)
    return ChangedColumn(
        id=column.pk,
        name=column.name,
        is_never_split=column.is_never_split,
        effect=effect_of(project),
    )


@router.delete(COLUMN, response=ActionOut)
@project_call(Role.LABELER, Scope.LABEL)
def remove_metadata_column(request: ApiRequest, project: Project, column_id: int) -> ActionOut:
    """Remove a column with its values from all images outside the bin, as an action that can be undone."""
    return ActionOut.of(metadata.remove_column(_column(project, column_id), request.user))


def _column(project: Project, column_id: int) -> MetadataColumn:
    """Raises Problem (404)."""
    column = MetadataColumn.objects.filter(project=project, pk=column_id).first()
    if column is None:
        raise problems.not_found()
    column.project = project
    return column

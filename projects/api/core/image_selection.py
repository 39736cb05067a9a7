"""Which images a call is about: those of a list, or all that match the filters of Label Data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from ninja import Field, Schema
from pydantic import ConfigDict

from projects.api.core import problems
from projects.api.core.access import ApiRequest
from projects.api.core.body import Body
from projects.api.core.pages import Key, PageParams, decode_cursor, encode_cursor
from projects.forms.label_data import ImagesForm
from projects.images.query import FILTERS, MAX_METADATA, MAX_SEARCH_LENGTH, SIZES, TABS, Query, is_set
from projects.images.sort import ORDERS, Cursor
from projects.models import Image, OpinionState, Project, Split
from projects.quality.issues import ISSUE_BY_NAME

CHOICES: Mapping[str, tuple[str, ...]] = {
    "tab": tuple(TABS),
    "split": (*Split.values, "none"),
    "size": tuple(SIZES),
    "check": tuple(ISSUE_BY_NAME),
    "opinion": tuple(OpinionState.values),
    "sort": tuple(ORDERS),
}
NO_LIMIT = 10**9


def _choice(name: str, description: str, default: str = "") -> Any:
    """A text of CHOICES; `query_of` refuses any other, as the page's own parser does not know it."""
    values: list[Any] = list(CHOICES[name]) if default else ["", *CHOICES[name]]
    return Field(default, description=description, json_schema_extra={"enum": values})


class ImageFilter(Schema):
    """The filters of Label Data, named as in the address of that page. They combine with “and”."""

    model_config = ConfigDict(extra="forbid")

    tab: str = _choice("tab", "The tab; `all` is all but the bin.", default="all")
    label: Key | None = Field(None, description="Id of a label that the images have.")
    notlabel: Key | None = Field(None, description="Id of a label that the images do not have.")
    split: str = _choice("split", "The split; `none`: not split yet.")
    by: Key | None = Field(None, description="Id of the person who labeled them.")
    since: date | None = Field(None, description="Labeled on this day or later.")
    until: date | None = Field(None, description="Labeled on this day or earlier.")
    q: str = Field("", max_length=MAX_SEARCH_LENGTH, description="A part of the file name.")
    size: str = _choice("size", "Pixels of the shorter side.")
    suggestion: Key | None = Field(None, description="Id of the suggested label.")
    above: float | None = Field(None, ge=0, le=1, description="Confidence of the suggestion, at least.")
    below: float | None = Field(None, ge=0, le=1, description="Confidence of the suggestion, at most.")
    hard: bool = Field(False, description="Hard examples only.")
    group: Key | None = Field(None, description="`duplicate_group` of the images.")
    check: str = _choice("check", "A possible issue that the images have.")
    opinion: str = _choice("opinion", "State of the second opinion.")
    mine: bool = Field(False, description="Images assigned to you only.")
    imported: Key | None = Field(None, description="Id of the import that brought them.")
    metadata: str = Field(
        "",
        max_length=MAX_METADATA,
        description="`column:value`, or `column:` for the images without a value.",
    )


class ImageListParams(ImageFilter, PageParams):
    """The filters, the sort and the page of a list of images."""

    sort: str = _choice("sort", "Without it as on Label Data: the newest first in most tabs.")
    like: Key | None = Field(None, description="Id of the image that the sort `similar` compares with.")


class ImageSelection(Body):
    """Either `image_ids` or `filter`."""

    image_ids: list[Key] | None = None
    filter: ImageFilter | None = None
    max_count: int | None = Field(
        None, ge=1, le=NO_LIMIT, description="With `filter`: where more images match, nothing is changed."
    )


def query_of(params: ImageFilter) -> Query:
    """The query of Label Data. Raises Problem for a value that the page would ignore."""
    names = {"tab", *FILTERS} | ({"sort", "like"} if isinstance(params, ImageListParams) else set())
    given = {name: value for name in sorted(names) if is_set(value := getattr(params, name))}
    query = Query.from_address({name: "1" if value is True else str(value) for name, value in given.items()})
    for name, value in given.items():
        if name in CHOICES and value not in CHOICES[name]:
            raise problems.invalid_field(name, f"Use one of: {', '.join(CHOICES[name])}.")
        if not is_set(getattr(query, name)):
            hint = "It needs the image `like`." if name == "sort" else "This value cannot be used."
            raise problems.invalid_field(name, hint)
    return query


def check_names(request: ApiRequest, params: type[Schema]) -> None:
    """Raise Problem for a parameter that is none: a mistyped filter would match too many images."""
    unknown = sorted(set(request.GET) - set(params.model_fields))
    if unknown:
        names = ", ".join(params.model_fields)
        raise problems.invalid_field(unknown[0], f"There is no such parameter. There are {names}.")


def images_page(
    project: Project, query: Query, params: PageParams, request: ApiRequest
) -> tuple[list[Image], str | None]:
    """The images of a page in the order of the query, and the cursor of the next one; None at the end."""
    sort, position = query.sort_name, _position(query.sort_name, params.cursor)
    if sort == "similar":
        start = int(position) if position.isdecimal() else 0
        ordered = query.most_similar(project, request.user)
        has_more = len(ordered) > start + params.limit
        next_cursor = encode_cursor([sort, str(start + params.limit)]) if has_more else None
        return ordered[start : start + params.limit], next_cursor
    order, images = query.order, query.images(project, request.user)
    if position:
        cursor = Cursor.read(position, order)
        if cursor is None:
            raise problems.invalid_field("cursor", "This is no cursor of this list.")
        images = images.filter(order.beyond(cursor, is_later=True))
    chosen = list(images.order_by(*order.by)[: params.limit + 1])
    if len(chosen) <= params.limit:
        return chosen, None
    return chosen[: params.limit], encode_cursor([sort, str(Cursor.of(chosen[params.limit - 1], order))])


def _position(sort: str, cursor: str) -> str:
    """The position in a cursor, as `images.sort.Cursor` writes it. Raises Problem for another sort."""
    if not cursor:
        return ""
    match decode_cursor(cursor):
        case [str(of), str(position)] if of == sort and len(position) < 19 + 256:
            return position
    raise problems.invalid_field("cursor", "This is no cursor of this list.")


def selected(
    make_form: Callable[..., ImagesForm],
    request: ApiRequest,
    project: Project,
    body: ImageSelection,
    values: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The cleaned data of the page's form about these images, with `values` of its other fields.

    Raises Problem.
    """
    if (body.image_ids is None) == (body.filter is None):
        raise problems.invalid_field("image_ids", "Send either image_ids or filter.")
    data: dict[str, Any] = {"images": ",".join(map(str, body.image_ids or ())), **(values or {})}
    query = query_of(body.filter) if body.filter is not None else None
    if query is not None:
        data |= {"matching": "on", "count": body.max_count or NO_LIMIT}

    def matching_ids() -> list[int]:
        assert query is not None
        return list(query.images(project, request.user).order_by().values_list("pk", flat=True))

    form = make_form(data, matching_ids=matching_ids)
    if not form.is_valid():
        raise problems.of_form(
            form, names={"images": "image_ids", "__all__": "image_ids" if query is None else "filter"}
        )
    return form.cleaned_data

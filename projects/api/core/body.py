"""What a call sends: bodies of JSON, and the fields of a form."""

from __future__ import annotations

from collections.abc import Collection

from ninja import Schema
from pydantic import ConfigDict

from projects.api.core.access import ApiRequest
from projects.api.core.problems import invalid_field


class Body(Schema):
    """The base of all bodies. A name that is not known is refused: a mistyped one would change nothing."""

    model_config = ConfigDict(extra="forbid")


def check_form(request: ApiRequest, fields: Collection[str], files: str) -> None:
    """Raise Problem for a field of the form that is not known; `files`: the field that has the files."""
    unknown = [*sorted(set(request.POST) - set(fields)), *sorted(set(request.FILES) - {files})]
    if unknown:
        names = ", ".join([*fields, files])
        raise invalid_field(unknown[0], f"There is no such field. There are {names}.")

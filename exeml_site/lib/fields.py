"""Form fields whose values fit into the columns of the database."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from exeml_site.lib.params import MAX_INTEGER, parse_int


class IdField(forms.IntegerField):
    """The id of a row, or 0."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=MAX_INTEGER, **kwargs)


class RowsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """A choice of rows by their ids. Django's own field asks the database for ids of any size."""

    def clean(self, value: Any) -> Any:
        for key in value if isinstance(value, (list, tuple)) else []:
            if parse_int(str(key)) is None:
                raise ValidationError(self.error_messages["invalid_choice"], "invalid_choice", {"value": key})
        return super().clean(value)

"""The form that sets metadata on the selected images."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from projects.forms.label_data import ImagesForm
from projects.labels import metadata
from projects.models.metadata import MAX_COLUMN_NAME, MAX_VALUE


class MetadataForm(ImagesForm):
    """The value of a column for the selected images; an empty one removes it."""

    column = BoundedTextField(
        max_length=MAX_COLUMN_NAME, error_messages={"required": gettext_lazy("Enter a column name.")}
    )
    value = BoundedTextField(max_length=MAX_VALUE, required=False)

    def clean_column(self) -> str:
        return metadata.clean_name(self.cleaned_data["column"])

    def clean_value(self) -> str:
        return metadata.clean_value(self.cleaned_data["value"])

"""Forms of imports, the data source and exports."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from exeml_site.lib.params import parse_json
from projects.transfers import data_source
from projects.transfers.export import ExportFormat
from projects.transfers.import_plan import LabelsFrom

EXISTING_CHOICES = {
    "keep": gettext_lazy("Keep their labels"),
    "replace": gettext_lazy("Replace their labels with those of the import (can be undone)"),
}

# What becomes of images that folders or label files call test images; without a choice a person is asked.
TESTS_CHOICES = {
    "keep": gettext_lazy("Keep them as a test set"),
    "use": gettext_lazy("Use them for training and validation"),
    "all": gettext_lazy("Keep all images of this import as test images"),
}


class FileListField(forms.CharField):
    """Files that will be uploaded in parts: `[{"name": …, "size": bytes, "modified": ms}]` as JSON."""

    def to_python(self, value: Any) -> list[dict[str, Any]]:  # type: ignore[override]
        if not value:
            return []
        try:
            entries = parse_json(value)
            files = [
                {
                    "name": str(entry["name"])[:255],
                    "size": int(entry["size"]),
                    "modified": int(entry.get("modified", 0)),
                }
                for entry in entries
            ]
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as problem:
            raise ValidationError(gettext("The list of files cannot be read.")) from problem
        return files


class ImportForm(forms.Form):
    """The options of an import. Files come with the form, or in parts after it (`file_list`).

    `asks`: the sender is a page, so a person can look at what is in doubt before it is imported.
    """

    file_list = FileListField(required=False, widget=forms.HiddenInput)
    labels_from = forms.ChoiceField(
        label=gettext_lazy("Labels come from"),
        choices=LabelsFrom.choices,
        initial=LabelsFrom.AUTOMATIC,
        required=False,
    )
    existing = forms.ChoiceField(
        label=gettext_lazy("Images that already have labels"),
        choices=list(EXISTING_CHOICES.items()),
        initial="keep",
        required=False,
    )
    tests = forms.ChoiceField(
        label=gettext_lazy("Images in folders called “test”, or marked as test images"),
        choices=[("", gettext_lazy("Ask if there are any")), *TESTS_CHOICES.items()],
        required=False,
    )
    is_shown = forms.BooleanField(label=gettext_lazy("Show what was found before importing"), required=False)
    asks = forms.BooleanField(required=False, widget=forms.HiddenInput, initial=True)
    addresses = BoundedTextField(
        label=gettext_lazy("Beginning of the addresses"),
        max_length=1024,
        required=False,
        help_text=gettext_lazy(
            "For a manifest from another system, such as s3://bucket/flowers/. Usually not needed: images "
            "are found by the end of their path."
        ),
    )
    folder = BoundedTextField(
        label=gettext_lazy("Folder for these addresses"), max_length=1024, required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("addresses", "folder"):
            self.fields[name].widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("folder") and not cleaned.get("addresses"):
            self.add_error("addresses", gettext("Enter the beginning of the addresses for this folder."))
        return cleaned

    @property
    def options(self) -> dict[str, Any]:
        """The options of the new import."""
        return {
            "prefix": self.cleaned_data["addresses"],
            "folder": self.cleaned_data["folder"],
            "labels_from": self.cleaned_data["labels_from"] or LabelsFrom.AUTOMATIC.value,
            "existing": self.cleaned_data["existing"] or "keep",
            "tests": self.cleaned_data["tests"],
            "is_shown": self.cleaned_data["is_shown"],
            "is_reviewed": not (self.cleaned_data["asks"] or self.cleaned_data["is_shown"]),
        }


class DataSourceForm(forms.Form):
    address = BoundedTextField(
        label=gettext_lazy("Folder or S3 prefix"),
        max_length=1024,
        error_messages={"required": gettext_lazy("Enter a folder or an S3 prefix.")},
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    has_folder_labels = forms.BooleanField(
        label=gettext_lazy("Use the folder of each image as its label"), required=False
    )

    def clean_address(self) -> str:
        return data_source.check_address(self.cleaned_data["address"])


class ExportForm(forms.Form):
    format = forms.ChoiceField(
        choices=ExportFormat.choices,
        initial=ExportFormat.ARCHIVE,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose a format."),
            "invalid_choice": gettext_lazy("Choose one of the formats."),
        },
    )

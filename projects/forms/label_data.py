"""Forms of the Label Data page. They turn strings into ids and names; `labels.actions` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from exeml_site.lib.params import parse_int, parse_json
from projects.formats.manifest import EntryLabel
from projects.images.query import SIZE_TEXT, Query
from projects.label_data.filter_chips import SPLIT_CHOICES
from projects.label_data.rows import LabelRow
from projects.labels.annotations import normalized_name
from projects.models import Label, OpinionState, Project
from projects.models.label import LABEL_NAME
from projects.quality.issues import ISSUES

MAX_IMAGES = 5_000
CONFIDENCE_PERCENTS = (50, 70, 80, 90, 95, 99)  # percent


class ImageIdsField(forms.CharField):
    """Image ids in one field, joined by commas: thousands of fields would exceed Django's limit."""

    default_error_messages = {
        "required": "Select at least one image.",
        "invalid": "Select images of this page.",
        "many": f"Select at most {MAX_IMAGES:,} images at once.",
    }

    def to_python(self, value: Any) -> list[int]:  # type: ignore[override]
        parts = [part.strip() for part in str(value or "").split(",") if part.strip()]
        if len(parts) > MAX_IMAGES:
            raise ValidationError(self.error_messages["many"], "many")
        ids = [pk for part in parts if (pk := parse_int(part)) is not None]
        if len(ids) < len(parts):
            raise ValidationError(self.error_messages["invalid"], "invalid")
        return ids


class LabelNamesField(forms.Field):
    """Label names, one value each. Names are checked here, so that the error is shown at the field."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[str]:
        names = [normalized_name(name) for name in value or []]
        return [name for name in names if name]

    def validate(self, value: list[str]) -> None:
        for name in value:
            LABEL_NAME(name)


class ImagesForm(forms.Form):
    """Images by their ids, or with `matching` all images that the page's query matches."""

    images = ImageIdsField(required=False)
    matching = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("matching") and not cleaned.get("images") and "images" not in self.errors:
            self.add_error("images", "Select at least one image.")
        return cleaned


class LabelImagesForm(ImagesForm):
    """Labels to add and remove, as the right pane and the keys send them.

    `stays`: the images stay visible until the next action, although they leave the tab.
    """

    add = LabelNamesField(required=False)
    remove = LabelNamesField(required=False)
    stays = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict, *, project: Project) -> None:
        super().__init__(data)
        self.project = project

    def clean_add(self) -> list[str]:
        names: list[str] = self.cleaned_data["add"]
        if not self.project.is_multi_label and len({name.lower() for name in names}) > 1:
            raise ValidationError("Images of this project have one label each. Keep only one.")
        return names

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and not cleaned["add"] and not cleaned["remove"]:
            self.add_error("add", "Type a label and press Enter.")
        return cleaned


class ImageLabelsField(forms.CharField):
    """Label names of images, `{"id": [names]}` as JSON → labels of each image."""

    default_error_messages = {"invalid": "The labels of the images cannot be read."}

    def to_python(self, value: Any) -> dict[int, tuple[EntryLabel, ...]]:  # type: ignore[override]
        try:
            pairs = dict(parse_json(value or "{}")).items()
            labels = {
                pk: tuple(EntryLabel(str(name), annotated_by="") for name in names)
                for key, names in pairs
                if (pk := parse_int(key)) is not None
            }
        except (ValueError, TypeError) as problem:
            raise ValidationError(self.error_messages["invalid"], "invalid") from problem
        if len(labels) < len(pairs):
            raise ValidationError(self.error_messages["invalid"], "invalid")
        if len(labels) > MAX_IMAGES:
            raise ValidationError(ImageIdsField.default_error_messages["many"], "many")
        return labels


class UploadLabelsForm(forms.Form):
    marks = ImageLabelsField(error_messages={"required": "Choose which images get which labels."})


class LabelForm(forms.Form):
    """The name of a new label, or of `label` when it is renamed."""

    name = forms.CharField(
        label="Name",
        max_length=64,
        error_messages={
            "required": "Enter a name.",
            "max_length": "Use at most %(limit_value)d characters; these are %(show_value)d.",
        },
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, project: Project, label: Label | None = None
    ) -> None:
        super().__init__(data, initial={"name": label.name if label else ""})
        self.project, self.label = project, label
        id_ = f"rename-{label.pk}" if label else "new-label"
        self.fields["name"].widget.attrs |= {"id": id_, "autocomplete": "off", "spellcheck": "false"}

    def clean_name(self) -> str:
        name = normalized_name(self.cleaned_data["name"])
        LABEL_NAME(name)
        for other in Label.objects.filter(project=self.project):
            if other != self.label and other.name.lower() == name.lower():
                raise ValidationError(f"This project already has a label “{other.name}”.")
        return name


@dataclass(frozen=True)
class FilterField:
    """One field of the filter form: a select with `options` (value → text), or an input of another `kind`."""

    name: str
    title: str
    value: Any
    options: Mapping[Any, str] = field(default_factory=dict)
    kind: str = "select"


def filter_fields(query: Query, labels: Sequence[LabelRow], people: Mapping[int, str]) -> list[FilterField]:
    """The fields of the filter form. It sends a query string; `Query` ignores what is invalid in it."""
    names = {row.label.pk: row.label.name for row in labels}
    sureness = {percent / 100: f"{percent} %" for percent in CONFIDENCE_PERCENTS}
    choices: list[tuple[str, str, Mapping[Any, str]]] = [
        ("label", "Has label", names),
        ("notlabel", "Does not have label", names),
        ("suggestion", "Suggestion", names),
        ("above", "Min. confidence", sureness),
        ("below", "Max. confidence", sureness),
        ("by", "Labeled by", people),
        ("split", "Split", SPLIT_CHOICES),
        ("size", "Shorter side", SIZE_TEXT),
        ("opinion", "Second opinion", dict(OpinionState.choices)),
        ("check", "Possible issue", {check.name: check.title for check in ISSUES}),
    ]
    fields = [FilterField(name, title, getattr(query, name), options) for name, title, options in choices]
    for name, title in (("since", "Labeled since"), ("until", "Labeled until")):
        fields.append(FilterField(name, title, str(getattr(query, name) or ""), kind="date"))
    return fields

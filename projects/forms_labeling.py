"""Forms of the Label Data page. They turn strings into ids and names; the deeds write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from projects.checks import CHECKS
from projects.filters import SIDES
from projects.grid import LabelRow
from projects.label_rows import tidy
from projects.models import Label, OpinionState, Project
from projects.models.project import LABEL_NAME
from projects.querying import SIZE_WORDS, Query

MOST_IMAGES = 5_000
SURENESS = [(str(percent / 100), f"{percent} %") for percent in (50, 70, 80, 90, 95, 99)]


class ImageIdsField(forms.CharField):
    """Image ids in one field, joined by commas: thousands of fields would meet the limit of a request."""

    default_error_messages = {
        "required": "Select at least one image.",
        "invalid": "Select images of this page.",
        "many": f"Select at most {MOST_IMAGES:,} images at once.",
    }

    def to_python(self, value: Any) -> list[int]:  # type: ignore[override]
        parts = [part.strip() for part in str(value or "").split(",") if part.strip()]
        if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
            raise ValidationError(self.error_messages["invalid"], "invalid")
        if len(parts) > MOST_IMAGES:
            raise ValidationError(self.error_messages["many"], "many")
        return [int(part) for part in parts]


class LabelNamesField(forms.Field):
    """Label names, one value each. A project's rule for names is kept here so that the field shows it."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[str]:
        names = [tidy(name) for name in value or []]
        return [name for name in names if name]

    def validate(self, value: list[str]) -> None:
        for name in value:
            LABEL_NAME(name)


class ImagesForm(forms.Form):
    """Images by their ids, or with `matching` all that the address of the page matches."""

    images = ImageIdsField(required=False)
    matching = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("matching") and not cleaned.get("images") and "images" not in self.errors:
            self.add_error("images", "Select at least one image.")
        return cleaned


class LabelImagesForm(ImagesForm):
    """What the right pane and the keys send. `stays`: the images are shown until the next deed."""

    add = LabelNamesField(required=False)
    remove = LabelNamesField(required=False)
    stays = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict, *, project: Project) -> None:
        super().__init__(data)
        self.project = project

    def clean_add(self) -> list[str]:
        names: list[str] = self.cleaned_data["add"]
        if not self.project.is_multi_label and len({name.lower() for name in names}) > 1:
            raise ValidationError("Images of this project have one label each. Keep one label.")
        return names

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and not cleaned["add"] and not cleaned["remove"]:
            self.add_error("add", "Input a label and press Enter.")
        return cleaned


class LabelForm(forms.Form):
    """The name of a new label, or of `label` when it is renamed."""

    name = forms.CharField(
        label="Name",
        max_length=64,
        error_messages={
            "required": "Input a name.",
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
        name = tidy(self.cleaned_data["name"])
        LABEL_NAME(name)
        for other in Label.objects.filter(project=self.project):
            if other != self.label and other.name.lower() == name.lower():
                raise ValidationError(f"This project already has a label “{other.name}”.")
        return name


class FilterForm(forms.Form):
    """What the filter offers. It is never bound: an address is read by `querying.Query`, which forgives."""

    label = forms.ChoiceField(label="Labeled")
    notlabel = forms.ChoiceField(label="Not labeled")
    suggestion = forms.ChoiceField(label="Suggestion")
    above = forms.ChoiceField(label="At least so sure", choices=[("", "any"), *SURENESS])
    below = forms.ChoiceField(label="At most so sure", choices=[("", "any"), *SURENESS])
    by = forms.ChoiceField(label="Labeled by")
    since = forms.DateField(label="Labeled since", widget=forms.DateInput({"type": "date"}))
    until = forms.DateField(label="Labeled until", widget=forms.DateInput({"type": "date"}))
    side = forms.ChoiceField(label="Set", choices=[("", "any"), *SIDES.items()])
    size = forms.ChoiceField(label="Shorter side", choices=[("", "any"), *SIZE_WORDS.items()])
    check = forms.ChoiceField(label="What may be wrong")
    opinion = forms.ChoiceField(label="Second opinion", choices=[("", "any"), *OpinionState.choices])
    hard = forms.BooleanField(label="Hard examples")
    mine = forms.BooleanField(label="Given to me")

    use_required_attribute = False

    def __init__(self, query: Query, labels: Sequence[LabelRow], people: Mapping[int, str]) -> None:
        super().__init__(
            initial={name: getattr(query, name) for name in self.base_fields}, auto_id="filter-%s"
        )
        names = [("", "any"), *((row.label.pk, row.label.name) for row in labels)]
        for name in ("label", "notlabel", "suggestion"):
            self.fields[name].choices = names  # type: ignore[attr-defined]
        self.fields["by"].choices = [("", "anybody"), *people.items()]  # type: ignore[attr-defined]
        titles = [(check.name, check.title) for check in CHECKS]
        self.fields["check"].choices = [("", "anything"), *titles]  # type: ignore[attr-defined]
        for name, field in self.fields.items():
            if name not in ("hard", "mine"):
                field.widget.attrs["class"] = "input"

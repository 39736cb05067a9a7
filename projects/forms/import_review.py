"""The form on the page that is shown before an import: what to change about what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField
from django.utils.translation import gettext, gettext_lazy

from projects.formats.encodings import CHOICES as ENCODINGS
from projects.forms.transfers import EXISTING_CHOICES, TESTS_CHOICES
from projects.labels import metadata
from projects.transfers.import_plan import LabelsFrom
from projects.transfers.texts.reasons import translated_preview

SEPARATORS = {
    "": gettext_lazy("One label in each cell"),
    ";": gettext_lazy("Semicolon ;"),
    ",": gettext_lazy("Comma ,"),
    "|": gettext_lazy("Bar |"),
    " ": gettext_lazy("Space"),
}


@dataclass(frozen=True)
class FileFields:
    """The fields of one label file. `shown` is its entry in the preview."""

    shown: Mapping[str, Any]
    fields: list[BoundField]
    is_used: BoundField | None = None
    labels: BoundField | None = None  # the columns that hold labels
    metadata: BoundField | None = None  # the columns that are kept as metadata


class ImportReviewForm(forms.Form):
    """Choices about label files, names and labels. `preview`: what `preview.preview_of` found."""

    labels_from = forms.ChoiceField(label=gettext_lazy("Labels come from"), choices=LabelsFrom.choices)
    existing = forms.ChoiceField(
        label=gettext_lazy("Images that already have labels"), choices=list(EXISTING_CHOICES.items())
    )

    def __init__(self, data: Any = None, *, preview: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        initial = {
            "labels_from": options.get("labels_from") or LabelsFrom.AUTOMATIC.value,
            "existing": options.get("existing") or "keep",
        }
        super().__init__(data, initial=initial)
        self.preview, self._options = translated_preview(preview), options
        if encoding := preview.get("names_encoding"):
            self.fields["names_encoding"] = forms.ChoiceField(
                label=gettext("Encoding of file names"), choices=list(ENCODINGS.items()), initial=encoding
            )
        for shown in preview.get("levels", []):
            self._add_level(shown)
        if preview.get("tests") or options.get("tests"):
            self.fields["tests"] = forms.ChoiceField(
                label=gettext("Test images"),
                choices=list(TESTS_CHOICES.items()),
                initial=options.get("tests") or "keep",
            )
        for number, shown in enumerate(preview.get("files", [])):
            if "format" in shown:
                self._add_file(number, shown)

    def _add_level(self, shown: Mapping[str, Any]) -> None:
        names = ", ".join(shown["names"]) + (" …" if shown["count"] > len(shown["names"]) else "")
        self.fields[f"level-{shown['level']}"] = forms.CharField(
            label=gettext("Column name for the folders %(names)s") % {"names": names},
            help_text=gettext("For example “person”. Leave empty to ignore these folders."),
            required=False,
            initial=self._options.get("folder_columns", {}).get(str(shown["level"]), ""),
            widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in [name for name in cleaned if name.startswith("level-") and cleaned[name]]:
            try:
                cleaned[name] = metadata.clean_name(cleaned[name])
            except ValidationError as error:
                self.add_error(name, error)
        return cleaned

    @property
    def levels(self) -> list[BoundField]:
        return [self[name] for name in self.fields if name.startswith("level-")]

    def _add_file(self, number: int, shown: Mapping[str, Any]) -> None:
        is_used = bool(shown["is_used"] and not shown["problem"])
        self.fields[f"file-{number}-is_used"] = forms.BooleanField(
            label=gettext("Use this label file"), required=False, initial=is_used
        )
        if shown.get("encoding"):
            self._add_encoding(number, shown["encoding"])
        if not shown["is_table"]:
            return
        columns = list(enumerate(shown["head"]))
        chosen = shown["columns"] or {"image": 0, "labels": [], "split": None}
        self.fields[f"file-{number}-image"] = forms.TypedChoiceField(
            label=gettext("Image"),
            choices=columns,
            coerce=int,
            empty_value=None,
            initial=chosen["image"],
            required=False,
        )
        self.fields[f"file-{number}-labels"] = forms.TypedMultipleChoiceField(
            label=gettext("Labels"),
            choices=columns,
            coerce=int,
            initial=chosen["labels"],
            required=False,
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields[f"file-{number}-split"] = forms.TypedChoiceField(
            label=gettext("Split"),
            choices=[("", gettext("None")), *columns],
            coerce=int,
            empty_value=None,
            initial=chosen["split"],
            required=False,
        )
        self.fields[f"file-{number}-metadata"] = forms.TypedMultipleChoiceField(
            label=gettext("Metadata"),
            choices=columns,
            coerce=int,
            initial=chosen.get("metadata", []),
            required=False,
            widget=forms.CheckboxSelectMultiple,
        )
        self.fields[f"file-{number}-separator"] = forms.ChoiceField(
            label=gettext("Label separator"),
            choices=list(SEPARATORS.items()),
            initial=shown["separator"],
            required=False,
        )

    def _add_encoding(self, number: int, found: str) -> None:
        choices = ENCODINGS if found in ENCODINGS else {found: found, **ENCODINGS}
        self.fields[f"file-{number}-encoding"] = forms.ChoiceField(
            label=gettext("Text encoding"), choices=list(choices.items()), initial=found, required=False
        )

    def label_files(self) -> Iterator[FileFields]:
        """The label files in order with their fields; a file that was not understood has none."""
        for number, shown in enumerate(self.preview.get("files", [])):
            names = [f"file-{number}-{name}" for name in ("image", "split", "separator", "encoding")]
            fields = [self[name] for name in names if name in self.fields]
            boxes = (self._field(number, name) for name in ("is_used", "labels", "metadata"))
            yield FileFields(shown, fields, *boxes)

    def _field(self, number: int, name: str) -> BoundField | None:
        html_name = f"file-{number}-{name}"
        return self[html_name] if html_name in self.fields else None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the import with what was chosen here."""
        cleaned = self.cleaned_data
        choices = dict(self._options.get("choices", {}))
        for number, shown in enumerate(self.preview.get("files", [])):
            # A request without any field of a file leaves it as it was found.
            if any(name.startswith(f"file-{number}-") for name in self.data):
                choices[shown["path"]] = self._choice(number, shown)
        names = cleaned.get("names_encoding")
        levels = {name.removeprefix("level-"): text for name, text in cleaned.items() if "level-" in name}
        changed = {
            "labels_from": cleaned["labels_from"],
            "existing": cleaned["existing"],
            "choices": choices,
            "tests": cleaned.get("tests", self._options.get("tests", "")),
            "folder_columns": {level: text for level, text in levels.items() if text},
        }
        return {**self._options, **changed, **({"names_encoding": names} if names else {})}

    def _choice(self, number: int, shown: Mapping[str, Any]) -> dict[str, Any]:
        """What was chosen for one label file; an unchanged encoding stays found."""
        value = {
            name.removeprefix(f"file-{number}-"): value
            for name, value in self.cleaned_data.items()
            if name.startswith(f"file-{number}-")
        }
        if value.get("encoding") == shown.get("encoding"):
            value["encoding"] = ""
        return value if value.get("is_used") else {**value, "problem": shown["problem"]}

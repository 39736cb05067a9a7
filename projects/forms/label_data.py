"""Forms of the Label Data page. They turn strings into ids and names; `labels.actions` writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.display import count, whole_percent
from exeml_site.lib.fields import BoundedTextField
from exeml_site.lib.params import parse_int, parse_json
from projects.formats.manifest import EntryLabel
from projects.images.query import SIZE_TEXT, Query
from projects.label_data.filter_chips import SPLIT_CHOICES
from projects.label_data.rows import LabelRow
from projects.labels.annotations import normalized_name
from projects.labels.seen_images import SeenImage
from projects.models import Label, OpinionState, Project, Split
from projects.models.label import LABEL_NAME, MAX_LABELS, too_many_labels
from projects.quality.issues import ISSUES

MAX_IMAGES = 5_000
MAX_FOLDERS = 20_000  # of one upload
SEEN_IMAGE = re.compile(r"[0-9]{1,18}:(?:[0-9]{1,18})?:(?:[0-9]{1,18}(?:\+[0-9]{1,18})*)?", re.ASCII)
CONFIDENCE_PERCENTS = (50, 70, 80, 90, 95, 99)  # percent


def _too_many_images() -> ValidationError:
    sentence = gettext("Select at most %(limit)s images at once.")
    return ValidationError(sentence % {"limit": count(MAX_IMAGES)}, "many")


class ImageIdsField(forms.CharField):
    """Image ids in one field, joined by commas: thousands of fields would exceed Django's limit."""

    default_error_messages = {
        "required": gettext_lazy("Select at least one image."),
        "invalid": gettext_lazy("Select images on this page."),
    }

    def to_python(self, value: Any) -> list[int]:  # type: ignore[override]
        parts = [part.strip() for part in str(value or "").split(",") if part.strip()]
        if len(parts) > MAX_IMAGES:
            raise _too_many_images()
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


class SeenImagesField(forms.CharField):
    """What the page showed of images, “id:suggested label:labels”, joined by commas → by image id.

    The suggestion may be empty; several labels are joined by “+”.
    """

    default_error_messages = ImageIdsField.default_error_messages

    def to_python(self, value: Any) -> dict[int, SeenImage]:  # type: ignore[override]
        parts = [part for part in str(value or "").split(",") if part]
        if len(parts) > MAX_IMAGES:
            raise _too_many_images()
        if not all(SEEN_IMAGE.fullmatch(part) for part in parts):
            raise ValidationError(self.error_messages["invalid"], "invalid")
        return dict(map(self._read, parts))

    @staticmethod
    def _read(part: str) -> tuple[int, SeenImage]:
        pk, suggestion, labels = part.split(":")
        label_ids = frozenset(int(label) for label in labels.split("+") if label)
        return int(pk), SeenImage(label_ids, int(suggestion) if suggestion else None)


class ImagesForm(forms.Form):
    """Images by their ids, or with `matching` all images that the page's query matches.

    `count`: the number of matching images that the page named. Where more match by now, nothing is changed.
    """

    images = ImageIdsField(required=False)
    matching = forms.BooleanField(required=False)
    count = forms.IntegerField(required=False, min_value=1, max_value=10**9)

    def __init__(self, data: Mapping[str, Any], *, matching_ids: Callable[[], list[int]]) -> None:
        super().__init__(data)
        self.matching_ids = matching_ids

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        if cleaned["matching"]:
            cleaned["images"] = self._all_matching(cleaned["count"])
        elif not self.listed(cleaned):
            self.add_error(None, ImageIdsField.default_error_messages["required"])
        else:
            cleaned["images"] = self.listed(cleaned)
        return cleaned

    def listed(self, cleaned: dict[str, Any]) -> list[int]:
        """The ids that the form lists."""
        ids: list[int] = cleaned["images"]
        return ids

    def _all_matching(self, seen: int | None) -> list[int]:
        if seen is None:
            raise ValidationError(gettext("Reload the page and try again: the number of images is missing."))
        ids = self.matching_ids()
        if len(ids) > seen:
            sentence = gettext("%(now)s images match now, not %(seen)s. Nothing was changed: check again.")
            raise ValidationError(sentence % {"now": count(len(ids)), "seen": count(seen)})
        return ids


class SeenImagesForm(ImagesForm):
    """Images with what the page showed of them; those that `seen` does not name only by `matching`."""

    images = None  # type: ignore[assignment]
    seen = SeenImagesField(required=False)

    def listed(self, cleaned: dict[str, Any]) -> list[int]:
        return list(cleaned["seen"])


def one_label(project: Project, names: list[str]) -> list[str]:
    """The names, where an image of the project can have them together. Raises ValidationError."""
    if not project.is_multi_label and len({name.lower() for name in names}) > 1:
        raise ValidationError(gettext("Images of this project have one label each. Keep only one."))
    return names


class LabelImagesForm(ImagesForm):
    """Labels to add and remove, as the right pane and the keys send them.

    `stays`: the images stay visible until the next action, although they leave the tab.
    """

    add = LabelNamesField(required=False)
    remove = LabelNamesField(required=False)
    stays = forms.BooleanField(required=False)

    def __init__(
        self, data: Mapping[str, Any], *, matching_ids: Callable[[], list[int]], project: Project
    ) -> None:
        super().__init__(data, matching_ids=matching_ids)
        self.project = project

    def clean_add(self) -> list[str]:
        return one_label(self.project, self.cleaned_data["add"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and not cleaned["add"] and not cleaned["remove"]:
            self.add_error("add", gettext("Type a label and press Enter."))
        return cleaned


class ImageLabelsField(forms.CharField):
    """Label names of images, `{"id": [names]}` as JSON → labels of each image."""

    default_error_messages = {"invalid": gettext_lazy("The labels of the images cannot be read.")}

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
            raise _too_many_images()
        return labels


class ImageSplitsField(forms.CharField):
    """Splits of images, `{"id": "TRAIN"}` as JSON → split of each image; other words are left out."""

    def to_python(self, value: Any) -> dict[int, str]:  # type: ignore[override]
        try:
            splits = {int(pk): str(split) for pk, split in dict(parse_json(value or "{}")).items()}
        except (ValueError, TypeError, RecursionError) as problem:
            raise ValidationError(gettext("The splits of the images cannot be read."), "invalid") from problem
        return {pk: split for pk, split in splits.items() if split in Split.values and 0 < pk < 2**63}


class FoldersField(forms.CharField):
    """Paths of folders as a list in JSON."""

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        try:
            folders = [str(folder)[:4096] for folder in list(parse_json(value or "[]"))]
        except (ValueError, TypeError, RecursionError) as problem:
            raise ValidationError(gettext("The list of folders cannot be read."), "invalid") from problem
        if len(folders) > MAX_FOLDERS:
            sentence = gettext("%(count)s folders are too many to upload. Make a zip archive and import it.")
            raise ValidationError(sentence % {"count": count(len(folders))})
        return folders


class UploadFoldersForm(forms.Form):
    folders = FoldersField(error_messages={"required": gettext_lazy("Name the folders.")})


class UploadLabelsForm(forms.Form):
    marks = ImageLabelsField(
        error_messages={"required": gettext_lazy("Choose which images get which labels.")}
    )
    splits = ImageSplitsField(required=False)


class UploadImagesForm(forms.Form):
    """The labels of uploaded images: `label`, and with `folders` the first folder of each file's name."""

    label = LabelNamesField(required=False)
    folders = forms.ChoiceField(required=False, choices=[("yes", "yes"), ("no", "no")])

    def __init__(self, data: QueryDict, *, project: Project) -> None:
        super().__init__(data)
        self.project = project

    def clean_label(self) -> list[str]:
        return one_label(self.project, self.cleaned_data["label"])


class LabelForm(forms.Form):
    """The name of a new label, or of `label` when it is renamed."""

    name = BoundedTextField(
        label=gettext_lazy("Name"),
        max_length=64,
        error_messages={"required": gettext_lazy("Enter a name.")},
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
        others = list(Label.objects.filter(project=self.project))
        if self.label is None and len(others) >= MAX_LABELS:
            raise too_many_labels(len(others), 1)
        for other in others:
            if other != self.label and other.name.lower() == name.lower():
                sentence = gettext("This project already has a label “%(name)s”.")
                raise ValidationError(sentence % {"name": other.name})
        return name


@dataclass(frozen=True)
class FilterField:
    """One field of the filter form: a select with `options` (value → text), or an input of another `kind`.

    `example`: what an empty input of text shows.
    """

    name: str
    title: str
    value: Any
    options: Mapping[Any, str] = field(default_factory=dict)
    kind: str = "select"
    example: str = ""


def filter_fields(
    query: Query, labels: Sequence[LabelRow], people: Mapping[int, str], columns: Sequence[str] = ()
) -> list[FilterField]:
    """The fields of the filter form. It sends a query string; `Query` ignores what is invalid in it."""
    names = {row.label.pk: row.label.name for row in labels}
    sureness: Mapping[Any, str] = {
        percent / 100: whole_percent(percent / 100) for percent in CONFIDENCE_PERCENTS
    }
    choices: list[tuple[str, str, Mapping[Any, str]]] = [
        ("label", gettext("Has label"), names),
        ("notlabel", gettext("Does not have label"), names),
        ("suggestion", gettext("Suggestion"), names),
        ("above", gettext("Min. confidence"), sureness),
        ("below", gettext("Max. confidence"), sureness),
        ("by", gettext("Labeled by"), people),
        ("split", gettext("Split"), {split: str(title) for split, title in SPLIT_CHOICES.items()}),
        ("size", gettext("Shorter side"), SIZE_TEXT),
        ("opinion", gettext("Second opinion"), {state: str(title) for state, title in OpinionState.choices}),
        ("check", gettext("Possible issue"), {check.name: check.title for check in ISSUES}),
    ]
    fields = [FilterField(name, title, getattr(query, name), options) for name, title, options in choices]
    for name, title in (("since", gettext("Labeled since")), ("until", gettext("Labeled until"))):
        fields.append(FilterField(name, title, str(getattr(query, name) or ""), kind="date"))
    if columns or query.metadata:
        example = f"{columns[0] if columns else gettext('person')}:…"
        title = gettext("Metadata")
        fields.append(FilterField("metadata", title, query.metadata, kind="text", example=example))
    return fields

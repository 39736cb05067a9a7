"""Forms of All Labels: change the look of a label, merge it, delete it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from projects.models import Label, Project
from projects.models.label import HOT_KEY, LABEL_COLOURS


def _colours() -> list[tuple[int, str]]:
    return [(n, gettext("Colour %(number)s") % {"number": n + 1}) for n in range(LABEL_COLOURS)]


class LabelLookForm(forms.Form):
    """Colour and hot key. `swap`: exchange keys with the label that has the requested one."""

    colour = forms.TypedChoiceField(label=gettext_lazy("Colour"), coerce=int, choices=_colours)
    hot_key = BoundedTextField(
        label=gettext_lazy("Key"),
        required=False,
        max_length=1,
        error_messages={"max_length": HOT_KEY.message},
    )
    swap = forms.BooleanField(label=gettext_lazy("Swap the keys"), required=False)

    def __init__(self, data: Mapping[str, Any] | None, *, project: Project, label: Label) -> None:
        super().__init__(data, initial={"colour": label.colour, "hot_key": label.hot_key})
        self.project, self.label = project, label
        self.holder: Label | None = None

    def clean_hot_key(self) -> str:
        key: str = self.cleaned_data["hot_key"].lower()
        if key:
            HOT_KEY(key)
        return key

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        key = cleaned.get("hot_key")
        others = Label.objects.filter(project=self.project).exclude(pk=self.label.pk)
        self.holder = others.filter(hot_key=key).first() if key else None
        if key and self.holder and not cleaned.get("swap"):
            message = gettext("The key %(key)s belongs to “%(label)s”. Swap the keys or choose another one.")
            self.add_error("hot_key", message % {"key": key.upper(), "label": self.holder})
        return cleaned


class MergeForm(forms.Form):
    into = forms.ModelChoiceField(
        Label.objects.none(),
        label=gettext_lazy("Merge into"),
        error_messages={"required": gettext_lazy("Choose a label to merge into.")},
    )

    def __init__(self, data: Mapping[str, Any] | None, *, project: Project, label: Label) -> None:
        super().__init__(data, auto_id="merge-%s")
        into = self.fields["into"]
        assert isinstance(into, forms.ModelChoiceField)
        into.queryset = Label.objects.filter(project=project).exclude(pk=label.pk)
        into.empty_label = gettext("Choose a label")
        into.widget.attrs["class"] = "input"


class DeleteLabelForm(forms.Form):
    """What happens to images without another label.

    `mode`: `label` keeps them, `images` moves them to the bin, `files` deletes them for good.
    """

    mode = forms.ChoiceField(
        required=False, choices=[("label", "label"), ("images", "images"), ("files", "files")]
    )

    def clean_mode(self) -> str:
        return self.cleaned_data["mode"] or "label"

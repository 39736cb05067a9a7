"""Publication of a dataset version: its name and ratio, and what the project must have for it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.text import listed
from projects.datasets import readiness
from projects.datasets.publish import name_taken_message
from projects.forms.fields import PlainNumberField
from projects.models import DatasetVersion, Project
from projects.models.dataset import VERSION_NAME

DEFAULT_RATIO = Decimal("0.8")
PLAIN_TEXT = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
PROPOSED_NAME = re.compile(r"[Vv]([0-9]{1,9})")


class PublicationForm(forms.Form):
    """The request to publish the labels of `project` as a dataset version.

    Fields check formats and ranges, the form checks what depends on the project.
    """

    dataset_version = forms.CharField(
        label=gettext_lazy("Dataset Version"),
        validators=[VERSION_NAME],
        error_messages={"required": gettext_lazy("Give a name of 1 to 32 letters, digits, “_” or “-”.")},
        help_text=gettext_lazy("The current labels are published under this name and cannot be changed."),
        widget=forms.TextInput(attrs=PLAIN_TEXT),
    )
    training_ratio = PlainNumberField(
        label=gettext_lazy("Training and Validation Ratios"),
        pattern=r"0?\.[0-9]{1,5}",
        min_value=Decimal("0.00001"),
        max_value=Decimal("0.99999"),
        sentence=gettext_lazy(
            "Enter a ratio above 0 and below 1 with 1 to 5 decimal places, for example 0.8."
        ),
        help_text=gettext_lazy("Share used for training; the rest is held out for evaluation."),
    )

    def __init__(self, data: Any = None, *, project: Project) -> None:
        super().__init__(data)
        self.project = project
        self.initial = {"dataset_version": next_free_name(project), "training_ratio": str(DEFAULT_RATIO)}

    def clean_dataset_version(self) -> str:
        name: str = self.cleaned_data["dataset_version"]
        if self.project.dataset_versions.filter(name__iexact=name).exists():
            raise ValidationError(name_taken_message(name), code="taken")
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        for sentence in readiness.readiness(self.project).missing:
            self.add_error(None, ValidationError(sentence, code="not ready"))
        if "training_ratio" in cleaned and not self.non_field_errors():
            self._require_both_splits(cleaned["training_ratio"])
        return cleaned

    def _require_both_splits(self, ratio: Decimal) -> None:
        rows = readiness.preview(self.project, ratio)
        incomplete = [row.label for row in rows if not (row.train and row.eval)]
        if incomplete:
            sentence = gettext(
                "Training and validation need images of every label. Label more images with %(labels)s."
            )
            self.add_error("training_ratio", sentence % {"labels": listed(set(incomplete[:5]))})


def next_free_name(project: Project) -> str:
    """The next name of the form V001: one above the highest in the project."""
    reserved = DatasetVersion.objects.filter(project=project, name__istartswith="V")
    names = reserved.values_list("name", flat=True)
    numbers = [int(match[1]) for name in names if (match := PROPOSED_NAME.fullmatch(name))]
    return f"V{max(numbers, default=0) + 1:03d}"

"""Forms of a training version: name and note, more time, promotion of a candidate."""

from __future__ import annotations

import copy

from django import forms
from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from exeml_site.lib.text import validate_name
from training.forms.configuration import TrainingConfigurationForm


class VersionNoteForm(forms.Form):
    title = BoundedTextField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=64,
        validators=[validate_name],
        help_text=gettext_lazy("Shown beside the number, for example “before the move”."),
    )
    note = BoundedTextField(
        label=gettext_lazy("Note"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 4}),
    )


def _time_field() -> forms.Field:
    """The field of Training Configuration, which defines its range."""
    field = copy.deepcopy(TrainingConfigurationForm.base_fields["max_training_hours"])
    field.help_text = gettext_lazy(
        "How much longer to train. Training ends earlier if more time would not help."
    )
    return field


class AddTimeForm(forms.Form):
    """More training time, and the id of the opened dialog, which makes a second Submit harmless."""

    more_hours = _time_field()
    submission = forms.UUIDField(widget=forms.HiddenInput)


class PromoteForm(forms.Form):
    """The id of the opened dialog, which makes a second Promote harmless."""

    submission = forms.UUIDField(
        widget=forms.HiddenInput,
        error_messages={"required": gettext_lazy("Open the dialog again, then press Promote.")},
    )

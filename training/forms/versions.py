"""What people write about a version, and the time that they add to it."""

from __future__ import annotations

import copy

from django import forms

from training.forms.configuration import TrainingConfigurationForm


class VersionNoteForm(forms.Form):
    title = forms.CharField(
        label="Name",
        required=False,
        max_length=64,
        error_messages={"max_length": "A name has 64 characters at most."},
        help_text="Beside its number, for example “before the move”.",
    )
    note = forms.CharField(
        label="Note",
        required=False,
        max_length=2000,
        error_messages={"max_length": "A note has 2,000 characters at most."},
        widget=forms.Textarea(attrs={"rows": 4}),
    )


def _time_field() -> forms.Field:
    """As Training Configuration asks for it, which is the home of its range."""
    field = copy.deepcopy(TrainingConfigurationForm.base_fields["max_training_hours"])
    field.help_text = "How much longer to train. It ends earlier when more time would not help."
    return field


class AddTimeForm(forms.Form):
    """How much longer, and the mark of one opened dialog."""

    more_hours = _time_field()
    submission = forms.UUIDField(widget=forms.HiddenInput)


class PromoteForm(forms.Form):
    """The mark of one opened dialog."""

    submission = forms.UUIDField(
        widget=forms.HiddenInput, error_messages={"required": "Open the dialog again, then press Promote."}
    )

"""What people write about a version, and the time that they add to it."""

from __future__ import annotations

from django import forms

from training.fields import PlainNumberField
from training.forms import MAX_HOURS, MIN_HOURS, TrainingConfigurationForm


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


class AddTimeForm(forms.Form):
    """The time as Training Configuration asks for it, and the mark of one opened dialog."""

    more_hours = PlainNumberField(
        label=TrainingConfigurationForm.base_fields["max_training_hours"].label,
        pattern=r"[0-9]{1,9}(\.[0-9]{1,2})?|\.[0-9]{1,2}",
        least=MIN_HOURS,
        most=MAX_HOURS,
        sentence="Enter 0.1 to 100 hours with at most two decimal places, that is 6 to 6000 minutes.",
        help_text="How much longer to train. It ends earlier when more time would not help.",
    )
    submission = forms.UUIDField(widget=forms.HiddenInput)

"""What people write about a version."""

from __future__ import annotations

from django import forms


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

"""Form of the collected calls: whether a service collects, and for how long."""

from __future__ import annotations

from django import forms

from training.forms.service_settings import DAYS_RANGE, MAX_DAYS, MIN_DAYS


class CollectingForm(forms.Form):
    collects = forms.BooleanField(label="Collect requests", required=False)
    keeps_days = forms.IntegerField(
        label="Days that images are kept",
        min_value=MIN_DAYS,
        max_value=MAX_DAYS,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), DAYS_RANGE),
    )

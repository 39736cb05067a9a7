"""Form of the collected calls: whether a service collects, and for how long."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy

from training.forms.service_settings import DAYS_RANGE, MAX_DAYS, MIN_DAYS


class CollectingForm(forms.Form):
    collects = forms.BooleanField(label=gettext_lazy("Collect requests"), required=False)
    keeps_days = forms.IntegerField(
        label=gettext_lazy("Days that images are kept"),
        min_value=MIN_DAYS,
        max_value=MAX_DAYS,
        error_messages=dict.fromkeys(("required", "invalid", "min_value", "max_value"), DAYS_RANGE),
    )

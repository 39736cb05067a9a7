"""The form of a new service account."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from exeml_site.lib.text import validate_name
from projects.forms.teams import RoleForm


class ServiceAccountForm(RoleForm):
    name = BoundedTextField(
        label=gettext_lazy("Name of the program"),
        max_length=64,
        validators=[validate_name],
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    field_order = ["name", "role"]

"""The form of a new access token, of the pages and of the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.forms.boundfield import BoundWidget
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, pgettext_lazy

from exeml_site.lib.fields import BoundedTextField
from exeml_site.lib.text import validate_name
from projects.models import Scope
from projects.sign_in import access_tokens

NEVER = "never"
EXPLAINED_SCOPES = {
    Scope.LABEL: gettext_lazy("Upload images and change labels."),
    Scope.TRAIN: gettext_lazy("Publish dataset versions; start, stop and delete trainings."),
    Scope.DEPLOY: gettext_lazy("Deploy, change and stop services; predict."),
    Scope.ADMIN: gettext_lazy("Create and delete projects; manage members and service accounts."),
}


class AccessTokenForm(forms.Form):
    """`days`: None for a token that never expires."""

    name = BoundedTextField(
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("For example that of the program."),
        max_length=64,
        validators=[validate_name],
        error_messages={"required": gettext_lazy("Give the token a name, for example that of the program.")},
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"),
        choices=Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    days = forms.TypedChoiceField(
        label=gettext_lazy("Expires"),
        choices=[
            ("30", gettext_lazy("In 30 days")),
            ("90", gettext_lazy("In 90 days")),
            ("365", gettext_lazy("In a year")),
            (NEVER, pgettext_lazy("a token", "Never")),
        ],
        coerce=lambda value: None if value == NEVER else int(value),
        initial="90",
    )

    def explained_scopes(self) -> Iterator[tuple[BoundWidget, Promise]]:
        """The check boxes, each with its sentence. Reading has none: every token may read."""
        for box in self["scopes"]:
            if (sentence := EXPLAINED_SCOPES.get(box.data["value"])) is not None:
                yield box, sentence


def offer_to_revoke(form: forms.BaseForm, user: User) -> None:
    """With a new password, whoever has access tokens may revoke them, too."""
    if access_tokens.unrevoked(user).exists():
        form.fields[access_tokens.REVOKE_FIELD] = forms.BooleanField(
            label=gettext_lazy("Also revoke my access tokens"),
            help_text=gettext_lazy("Otherwise they stay valid."),
            required=False,
        )


def days_value(days: int | None) -> Any:
    """The value of the field `days` for a number of days."""
    return NEVER if days is None else days

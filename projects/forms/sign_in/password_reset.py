"""Forms to ask for a mail and to choose a new password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import MailField
from projects.forms.sign_in.access_tokens import offer_to_revoke

if TYPE_CHECKING:
    NewPasswordForm = SetPasswordForm[User]
else:
    NewPasswordForm = SetPasswordForm


class AskForMailForm(forms.Form):
    email = MailField(
        label=gettext_lazy("E-mail of your account"),
        widget=forms.EmailInput(attrs={"autocomplete": "email", "autofocus": True}),
    )


class ChoosePasswordForm(NewPasswordForm):
    error_messages = {"password_mismatch": gettext_lazy("The two new passwords differ.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].label = gettext_lazy("New password")
        self.fields["new_password1"].help_text = gettext_lazy(
            "At least 8 characters, not only digits, not a common password and not like your name."
        )
        self.fields["new_password2"].label = gettext_lazy("New password again")
        self.fields["new_password2"].help_text = ""
        offer_to_revoke(self, self.user)

    def validate_password_for_user(self, user: Any, *args: Any, **options: Any) -> None:
        """What is wrong with the password stands there, not where it is repeated."""
        super().validate_password_for_user(user, "new_password1")

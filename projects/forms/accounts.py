"""Forms to sign in, to change the password, and to choose notices."""

from __future__ import annotations

import math
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy, ngettext

from exeml_site.lib.display import count
from projects.forms.sign_in.access_tokens import offer_to_revoke
from projects.models import NoticeKind
from projects.sign_in.service_accounts import NO_SIGN_IN, is_service_account
from projects.workspace.login_throttle import Attempt


def too_many_attempts(attempt: Attempt) -> ValidationError:
    minutes = math.ceil(attempt.wait_s / 60)
    sentence = ngettext(
        "Too many wrong passwords. Wait %(count)s minute and try again, or ask an operator.",
        "Too many wrong passwords. Wait %(count)s minutes and try again, or ask an operator.",
        minutes,
    )
    return ValidationError(sentence % {"count": count(minutes)}, code="throttled")


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": gettext_lazy("Wrong username or password. Check both and try again."),
        "inactive": gettext_lazy("This account is switched off. Ask an operator."),
    }

    def __init__(self, *args: Any, attempt: Attempt | None = None, **kwargs: Any) -> None:
        """An `attempt` that is refused gets no look at the password."""
        super().__init__(*args, **kwargs)
        self._attempt = attempt

    def confirm_login_allowed(self, user: Any) -> None:
        super().confirm_login_allowed(user)
        if is_service_account(user):
            raise ValidationError(NO_SIGN_IN, code="service-account")

    def clean(self) -> dict[str, Any]:
        if self._attempt and self._attempt.is_refused:
            raise too_many_attempts(self._attempt)
        return super().clean()


class ChangePasswordForm(PasswordChangeForm):
    error_messages = {
        **PasswordChangeForm.error_messages,
        "password_incorrect": gettext_lazy("This is not your current password."),
        "password_mismatch": gettext_lazy("The two new passwords differ."),
    }

    def __init__(self, *args: Any, attempt: Attempt | None = None, **kwargs: Any) -> None:
        """An `attempt` that is refused gets no look at the password."""
        super().__init__(*args, **kwargs)
        self._attempt = attempt
        self.fields["old_password"].label = gettext_lazy("Current password")
        self.fields["new_password1"].label = gettext_lazy("New password")
        self.fields["new_password1"].help_text = gettext_lazy(
            "At least 8 characters, not only digits, not a common password and not like your name."
        )
        self.fields["new_password2"].label = gettext_lazy("New password again")
        self.fields["new_password2"].help_text = ""
        offer_to_revoke(self, self.user)

    def clean_old_password(self) -> str:
        if self._attempt and self._attempt.is_refused:
            raise too_many_attempts(self._attempt)
        return str(super().clean_old_password())

    def validate_password_for_user(self, user: Any, password_field_name: str = "new_password1") -> None:
        """What is wrong with the new password stands there, not where it is repeated."""
        super().validate_password_for_user(user, "new_password1")


class NoticesForm(forms.Form):
    """Of what a person wants mails."""

    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Mail me when"),
        choices=NoticeKind.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

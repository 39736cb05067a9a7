"""Forms to sign in and to change the password."""

from __future__ import annotations

import math
from typing import Any

from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError

from exeml_site.lib.text import counted
from projects.workspace.login_throttle import Attempt


def too_many_attempts(attempt: Attempt) -> ValidationError:
    wait = counted(math.ceil(attempt.wait_s / 60), "minute")
    sentence = f"Too many wrong passwords. Wait {wait} and try again, or ask an operator."
    return ValidationError(sentence, code="throttled")


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "Wrong username or password. Check both and try again.",
        "inactive": "This account is switched off. Ask an operator.",
    }

    def __init__(self, *args: Any, attempt: Attempt | None = None, **kwargs: Any) -> None:
        """An `attempt` that is refused gets no look at the password."""
        super().__init__(*args, **kwargs)
        self._attempt = attempt

    def clean(self) -> dict[str, Any]:
        if self._attempt and self._attempt.is_refused:
            raise too_many_attempts(self._attempt)
        return super().clean()


class ChangePasswordForm(PasswordChangeForm):
    error_messages = {
        **PasswordChangeForm.error_messages,
        "password_incorrect": "This is not your current password.",
        "password_mismatch": "The two new passwords differ.",
    }

    def __init__(self, *args: Any, attempt: Attempt | None = None, **kwargs: Any) -> None:
        """An `attempt` that is refused gets no look at the password."""
        super().__init__(*args, **kwargs)
        self._attempt = attempt
        self.fields["old_password"].label = "Current password"
        self.fields["new_password1"].label = "New password"
        self.fields[
            "new_password1"
        ].help_text = "At least 8 characters, not only digits, not a common password and not like your name."
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""

    def clean_old_password(self) -> str:
        if self._attempt and self._attempt.is_refused:
            raise too_many_attempts(self._attempt)
        return str(super().clean_old_password())

    def validate_password_for_user(self, user: Any, password_field_name: str = "new_password1") -> None:
        """What is wrong with the new password stands there, not where it is repeated."""
        super().validate_password_for_user(user, "new_password1")

"""Forms to sign in and to change the password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "Wrong username or password. Check both and try again.",
        "inactive": "This account is switched off. Ask an operator.",
    }
    throttled = "Too many wrong passwords for this name. Wait five minutes and try again."

    def __init__(self, *args: Any, is_throttled: bool = False, **kwargs: Any) -> None:
        """`is_throttled`: refuse without a look at the password."""
        super().__init__(*args, **kwargs)
        self._is_throttled = is_throttled

    def clean(self) -> dict[str, Any]:
        if self._is_throttled:
            raise ValidationError(self.throttled, code="throttled")
        return super().clean()


class ChangePasswordForm(PasswordChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = "Current password"
        self.fields["new_password1"].label = "New password"
        self.fields[
            "new_password1"
        ].help_text = "At least 8 characters, not only digits, not a common password and not like your name."
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""

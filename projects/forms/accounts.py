"""Forms to sign in and to change the password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError

from projects.workspace import login_throttle


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "Wrong username or password. Check both and try again.",
        "inactive": "This account is switched off. Ask an operator.",
    }
    throttled = "Too many wrong passwords for this name. Wait five minutes and try again."

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username") or ""
        if self.request and login_throttle.is_throttled(
            username, login_throttle.client_address(self.request)
        ):
            raise ValidationError(self.throttled, code="braked")
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

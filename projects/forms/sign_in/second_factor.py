"""Forms to give a second factor and to set one up."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.webauthn.internal import auth as webauthn
from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from projects.forms.accounts import too_many_attempts
from projects.sign_in import second_factor
from projects.sign_in.adapters import SecondFactorAdapter
from projects.workspace.login_throttle import Attempt

WRONG_CODE = SecondFactorAdapter.error_messages["incorrect_code"]
WRONG_KEY = gettext_lazy("This security key does not belong to this account. Use another one.")
CODE_ATTRS = {"autocomplete": "one-time-code", "autocapitalize": "off", "spellcheck": "false"}


class SecondFactorForm(forms.Form):
    """A code of the app, a recovery code, or the answer of a security key; `authenticator` is then known."""

    code = BoundedTextField(
        label=gettext_lazy("Code"),
        help_text=gettext_lazy("Six digits of your app, or one of your recovery codes."),
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={**CODE_ATTRS, "autofocus": True}),
    )
    credential = forms.JSONField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, user: User, attempt: Attempt, **kwargs: Any) -> None:
        """An `attempt` that is refused gets no look at the code."""
        super().__init__(*args, **kwargs)
        self._user, self._attempt = user, attempt
        self.authenticator: Authenticator | None = None

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if self._attempt.is_refused:
            raise too_many_attempts(self._attempt)
        if cleaned.get("credential"):
            self.authenticator = self._answer_of_key(cleaned["credential"])
        elif "code" in cleaned:
            self.authenticator = second_factor.accept_code(self._user, cleaned["code"])
            if self.authenticator is None:
                self.add_error("code", ValidationError(WRONG_CODE))
        return cleaned

    def _answer_of_key(self, credential: Any) -> Authenticator:
        try:
            webauthn.parse_authentication_response(credential)
            authenticator: Authenticator = webauthn.complete_authentication(self._user, credential)
        except (ValidationError, ValueError, TypeError, KeyError) as error:
            raise ValidationError(WRONG_KEY) from error
        return authenticator


class ConfirmPasswordForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Current password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, *args: Any, user: User, attempt: Attempt, **kwargs: Any) -> None:
        """An `attempt` that is refused gets no look at the password."""
        super().__init__(*args, **kwargs)
        self._user, self._attempt = user, attempt

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if self._attempt.is_refused:
            raise too_many_attempts(self._attempt)
        if not self._user.check_password(password):
            raise ValidationError(gettext_lazy("This is not your current password."))
        return password


class SetUpAppForm(forms.Form):
    code = BoundedTextField(
        label=gettext_lazy("Code that the app shows"),
        max_length=20,
        widget=forms.TextInput(attrs={**CODE_ATTRS, "inputmode": "numeric"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """The secret is made when the page is opened and waits in the session."""
        super().__init__(*args, **kwargs)
        self.secret = totp.get_totp_secret(regenerate=not self.is_bound)

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"].replace(" ", "")
        if not totp.validate_totp_code(self.secret, code):
            raise ValidationError(gettext_lazy("This code is wrong. Check the clock of the phone."))
        return code


class AddKeyForm(forms.Form):
    name = BoundedTextField(
        label=gettext_lazy("Name"),
        help_text=gettext_lazy("So that you can tell your keys apart."),
        required=False,
        max_length=60,
    )
    credential = forms.JSONField(
        widget=forms.HiddenInput,
        error_messages={"required": gettext_lazy("The security key gave no answer. Try again.")},
    )

    def clean_credential(self) -> Any:
        credential = self.cleaned_data["credential"]
        try:
            webauthn.parse_registration_response(credential)
            webauthn.complete_registration(credential)
        except (ValidationError, ValueError, TypeError, KeyError) as error:
            sentence = gettext_lazy("The answer of the security key could not be verified. Try again.")
            raise ValidationError(sentence) from error
        return credential

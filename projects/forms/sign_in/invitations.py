"""Forms to invite somebody and to make an account from an invitation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import BoundedTextField, MailField
from projects.forms.teams import RoleForm
from projects.models import Role

if TYPE_CHECKING:
    CreationForm = UserCreationForm[User]
else:
    CreationForm = UserCreationForm


class InviteForm(RoleForm):
    """`email` is there only where mail is configured."""

    email = MailField(
        label=gettext_lazy("E-mail"),
        help_text=gettext_lazy("Leave it empty to get a link that you pass on yourself."),
        required=False,
    )
    days = forms.IntegerField(
        label=gettext_lazy("Days"),
        min_value=1,
        max_value=30,
        initial=7,
    )
    field_order = ["email", "role", "days"]

    def __init__(self, *args: Any, has_mail: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not has_mail:
            del self.fields["email"]

    def clean_role(self) -> Role:
        role: Role | None = self.cleaned_data["role"]
        if role is None:
            raise ValidationError(gettext_lazy("Choose one of the four roles."))
        return role


class RegisterForm(CreationForm):
    username = BoundedTextField(
        label=gettext_lazy("Username"),
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "off"}),
    )

    class Meta:
        model = User
        fields = ["username"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"].label = gettext_lazy("New password")
        self.fields["password1"].help_text = gettext_lazy(
            "At least 8 characters, not only digits, not a common password and not like your name."
        )
        self.fields["password2"].label = gettext_lazy("New password again")
        self.fields["password2"].help_text = ""

    def validate_password_for_user(self, user: Any, **options: Any) -> None:
        """What is wrong with the password stands there, not where it is repeated."""
        super().validate_password_for_user(user, password_field_name="password1")  # type: ignore[misc]

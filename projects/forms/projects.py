"""Forms of accounts, teams and projects: strings become the domain's types. A form never writes."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Q

from projects.models import Project, Role, Team
from projects.models.project import PROJECT_NAME
from projects.workspace import login_throttle
from projects.workspace.lifecycle import NAME_TAKEN

MAX_DESCRIPTION = 256
TOO_LONG = "Use at most %(limit_value)d characters; these are %(show_value)d."
NAME_ATTRS = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "Username and password do not fit together. Check both and try again.",
        "inactive": "This account is switched off. Ask an operator.",
    }
    braked = "Too many wrong passwords for this name. Wait five minutes and try again."

    def clean(self) -> dict[str, Any]:
        username = self.cleaned_data.get("username") or ""
        if self.request and login_throttle.is_braked(username, login_throttle.address_of(self.request)):
            raise ValidationError(self.braked, code="braked")
        return super().clean()


class ChangePasswordForm(PasswordChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = "Present password"
        self.fields["new_password1"].label = "New password"
        self.fields[
            "new_password1"
        ].help_text = "At least 8 characters, not only digits, not a common password and not like your name."
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""


class RoleForm(forms.Form):
    role = forms.TypedChoiceField(
        choices=Role.choices, coerce=lambda value: Role(int(value)), empty_value=None, initial=Role.LABELER
    )


class AddMemberForm(RoleForm):
    person = forms.CharField(label="Username or e-mail", max_length=254)
    field_order = ["person", "role"]

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.team = team
        self.fields["person"].widget.attrs.update(NAME_ATTRS)

    def clean_person(self) -> User:
        """The account with this username, or the only one with this e-mail."""
        typed = self.cleaned_data["person"]
        found = list(User.objects.filter(username=typed)) or list(
            User.objects.filter(Q(username__iexact=typed) | Q(email__iexact=typed))[:2]
        )
        if not found:
            raise ValidationError("No account has this name. Ask an operator to create it.")
        if len(found) > 1:
            raise ValidationError("Several accounts fit this. Type the exact username.")
        return self._admissible(found[0])

    def _admissible(self, user: User) -> User:
        if not user.is_active:
            raise ValidationError("This account is switched off. Ask an operator.")
        if self.team.memberships.filter(user=user).exists():
            raise ValidationError(f"{user} is already a member of {self.team}.")
        return user


class DescriptionField(forms.CharField):
    """Browsers send a line break as two characters; it counts as one, as it does while typing."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            max_length=MAX_DESCRIPTION,
            widget=forms.Textarea(attrs={"rows": 3, "data-counted": ""}),
            error_messages={"max_length": TOO_LONG},
        )

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class EditProjectForm(forms.Form):
    description = DescriptionField()


class CreateProjectForm(forms.Form):
    name = forms.CharField(
        max_length=32,
        validators=[PROJECT_NAME],
        help_text="Letters, digits, “_” and “-”, starting with a letter. It cannot be changed later.",
        widget=forms.TextInput(attrs={"autofocus": "", **NAME_ATTRS}),
        error_messages={
            "required": "Give the project a name.",
            "max_length": TOO_LONG,
        },
    )
    description = DescriptionField()
    is_multi_label = forms.TypedChoiceField(
        label="Labels",
        choices=[("no", "One label per image"), ("yes", "Several labels per image")],
        coerce=lambda value: value == "yes",
        initial="no",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose one of the two."},
    )

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.team = team

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if self.team.projects.alive().filter(name__iexact=name).exists():
            raise ValidationError(NAME_TAKEN)
        return name


class DeleteProjectForm(forms.Form):
    """Deleting asks for the project's name, so that nobody deletes the wrong one."""

    name = forms.CharField(
        label="Type the project’s name to delete it",
        required=False,
        widget=forms.TextInput(attrs={"autofocus": "", **NAME_ATTRS}),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if name != self.project.name:
            raise ValidationError(f"This is not the project’s name. Type {self.project.name} exactly.")
        return name

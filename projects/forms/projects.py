"""Forms to create, edit and delete a project. They turn strings into domain types and never write."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from projects.models import Project, Team
from projects.models.project import PROJECT_NAME
from projects.workspace.lifecycle import NAME_TAKEN

MAX_DESCRIPTION = 256
NAME_ATTRS = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}


class DescriptionField(BoundedTextField):
    """A description whose line breaks count as one character: browsers send them as two."""

    def __init__(self) -> None:
        super().__init__(
            label=gettext_lazy("Description"),
            required=False,
            max_length=MAX_DESCRIPTION,
            widget=forms.Textarea(attrs={"rows": 3, "data-counted": MAX_DESCRIPTION}),
        )

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class EditProjectForm(forms.Form):
    description = DescriptionField()


class CreateProjectForm(forms.Form):
    name = BoundedTextField(
        label=gettext_lazy("Name"),
        max_length=32,
        validators=[PROJECT_NAME],
        help_text=gettext_lazy(
            "Letters, digits, “_” and “-”, starting with a letter. It cannot be changed later."
        ),
        widget=forms.TextInput(attrs={"autofocus": "", **NAME_ATTRS}),
        error_messages={"required": gettext_lazy("Enter a project name.")},
    )
    description = DescriptionField()
    is_multi_label = forms.TypedChoiceField(
        label=gettext_lazy("Labels"),
        choices=[
            ("no", gettext_lazy("One label per image")),
            ("yes", gettext_lazy("Several labels per image")),
        ],
        coerce=lambda value: value == "yes",
        initial="no",
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose one of the two.")},
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
    """Asks for the project's name, so that nobody deletes the wrong project."""

    name = forms.CharField(
        label=gettext_lazy("Type the project’s name to delete it"),
        required=False,
        widget=forms.TextInput(attrs={"autofocus": "", **NAME_ATTRS}),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if name != self.project.name:
            sentence = gettext("This is not the project’s name. Type %(name)s exactly.")
            raise ValidationError(sentence % {"name": self.project.name})
        return name

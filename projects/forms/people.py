"""Forms of collaboration: assignments, second opinions, reviews, presence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict

from projects.forms.label_data import ImageIdsField, SeenImagesForm
from projects.models import Label, Membership, Project, Role


class AssignForm(forms.Form):
    """The people that unlabeled images are assigned to, and the percentage of images."""

    users = forms.ModelMultipleChoiceField(
        User.objects.none(),
        label="Among",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one person."},
    )
    percent = forms.IntegerField(
        label="Percentage of the unassigned images",
        initial=100,
        min_value=1,
        max_value=100,
        error_messages={"required": "Enter a percentage from 1 to 100."},
    )

    def __init__(self, data: QueryDict | None = None, *, project: Project) -> None:
        super().__init__(data)
        labelers = Membership.objects.filter(team=project.team_id, role__gte=Role.LABELER)
        field = self.fields["users"]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        field.queryset = User.objects.filter(pk__in=labelers.values("user")).order_by("username")


class OpinionShareForm(forms.Form):
    share = forms.IntegerField(
        label="Second opinions (%)",
        min_value=0,
        max_value=100,
        help_text="Percentage of labeled images that a second person labels without seeing the labels.",
        error_messages={"required": "Enter a percentage from 0 to 100; 0 asks for none."},
    )


class OpinionForm(forms.Form):
    """The labels of a second opinion, given without seeing the labels of the image."""

    image = forms.IntegerField()
    labels = forms.ModelMultipleChoiceField(
        Label.objects.none(), required=False, error_messages={"invalid_choice": "This label was deleted."}
    )

    def __init__(self, data: QueryDict, *, project: Project) -> None:
        super().__init__(data)
        self.project = project
        field = self.fields["labels"]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        field.queryset = Label.objects.filter(project=project)

    def clean_labels(self) -> Sequence[Label]:
        labels = list(self.cleaned_data["labels"])
        if not labels:
            raise ValidationError("Choose a label.")
        if len(labels) > 1 and not self.project.is_multi_label:
            raise ValidationError("Images of this project have one label each. Choose one.")
        return labels


class ResolveForm(forms.Form):
    """A verdict on an image's two opinions. `first` and `second`: ids of the labels that the page showed."""

    image = forms.IntegerField()
    first = ImageIdsField(required=False)
    second = ImageIdsField(required=False)
    verdict = forms.ChoiceField(choices=[("first", "First"), ("second", "Second"), ("reject", "Neither")])


class ReviewForm(SeenImagesForm):
    verdict = forms.ChoiceField(
        choices=[("confirm", "Confirm"), ("reject", "Reject")],
        error_messages={"required": "Confirm or reject."},
    )


class PresenceForm(forms.Form):
    """The user's focused image, and the last event (`since`) that the page has shown."""

    image = forms.IntegerField(required=False, min_value=0)
    since = forms.IntegerField(required=False, min_value=0)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        return {name: value or 0 for name, value in cleaned.items()}

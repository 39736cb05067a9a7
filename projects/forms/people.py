"""Forms of collaboration: assignments, second opinions, reviews, presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.fields import IdField, RowsField
from projects.forms.label_data import ImageIdsField, SeenImagesForm
from projects.models import Label, Membership, Project, Role


class AssignForm(forms.Form):
    """The people that unlabeled images are assigned to, and the percentage of images."""

    users = RowsField(
        User.objects.none(),
        label=gettext_lazy("Assign to"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one person.")},
    )
    percent = forms.IntegerField(
        label=gettext_lazy("Percentage of the unassigned images"),
        initial=100,
        min_value=1,
        max_value=100,
        error_messages={"required": gettext_lazy("Enter a percentage from 1 to 100.")},
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, project: Project) -> None:
        super().__init__(data)
        labelers = Membership.objects.people().filter(team=project.team_id, role__gte=Role.LABELER)
        field = self.fields["users"]
        assert isinstance(field, RowsField)
        field.queryset = User.objects.filter(pk__in=labelers.values("user")).order_by("username")


class OpinionShareForm(forms.Form):
    share = forms.IntegerField(
        label=gettext_lazy("Second opinions (%)"),
        min_value=0,
        max_value=100,
        help_text=gettext_lazy(
            "Percentage of labeled images that a second person labels without seeing the first labels."
        ),
        error_messages={"required": gettext_lazy("Enter a percentage from 0 to 100. 0 requests none.")},
    )


class OpinionForm(forms.Form):
    """The labels of a second opinion, given without seeing the labels of the image."""

    image = IdField()
    labels = RowsField(
        Label.objects.none(),
        required=False,
        error_messages={"invalid_choice": gettext_lazy("This label was deleted.")},
    )

    def __init__(self, data: QueryDict, *, project: Project) -> None:
        super().__init__(data)
        self.project = project
        field = self.fields["labels"]
        assert isinstance(field, RowsField)
        field.queryset = Label.objects.filter(project=project)

    def clean_labels(self) -> Sequence[Label]:
        labels = list(self.cleaned_data["labels"])
        if not labels:
            raise ValidationError(gettext("Choose a label."))
        if len(labels) > 1 and not self.project.is_multi_label:
            raise ValidationError(gettext("Images of this project have one label each. Choose one."))
        return labels


class ResolveForm(forms.Form):
    """A verdict on an image's two opinions. `first` and `second`: ids of the labels that the page showed."""

    image = IdField()
    first = ImageIdsField(required=False)
    second = ImageIdsField(required=False)
    # not translated: the buttons of the page have their own texts
    verdict = forms.ChoiceField(choices=[("first", "First"), ("second", "Second"), ("reject", "Neither")])


class ReviewForm(SeenImagesForm):
    verdict = forms.ChoiceField(
        choices=[("confirm", "Confirm"), ("reject", "Reject")],  # not translated: buttons have own texts
        error_messages={"required": gettext_lazy("Confirm or reject.")},
    )


class PresenceForm(forms.Form):
    """The user's focused image, and the last event (`since`) that the page has shown."""

    image = IdField(required=False)
    since = IdField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        return {name: value or 0 for name, value in cleaned.items()}

"""Forms of the service page: deploy a version, test a service."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.utils.translation import gettext, gettext_lazy, ngettext

from exeml_site.lib.display import count
from projects.formats.pictures.picture_formats import ACCEPT
from projects.models import Project
from training.evaluation.best_version import rank, with_overall_metrics
from training.forms.fields import VersionField, ranking_help
from training.models import Service, TrainingVersion

CUSTOM = "custom"
MIN_HOURS, MAX_HOURS = 1, 24
MAX_TEST_IMAGES = 24  # images in one test on the page
HOURS_RANGE = gettext_lazy("Enter a whole number of hours from 1 to 24.")
CHOOSE_TIME = gettext_lazy("Choose one of the times, or Custom.")
AUTO_STOP_CHOICES = [
    ("1", gettext_lazy("1 hour later")),
    ("2", gettext_lazy("2 hours later")),
    ("4", gettext_lazy("4 hours later")),
    ("6", gettext_lazy("6 hours later")),
]


def deployable_versions(project: Project) -> QuerySet[TrainingVersion]:
    """The Completed versions with their overall metrics, newest first."""
    completed = TrainingVersion.objects.completed().filter(project=project)
    return with_overall_metrics(completed).order_by("-number")


class DeployForm(forms.Form):
    """`cleaned_data["auto_stop_hours"]` is 1–24, or None when Auto Stop is off."""

    service_id = forms.UUIDField(widget=forms.HiddenInput, required=False)
    version = VersionField(
        queryset=TrainingVersion.objects.none(),
        empty_label=None,
        widget=forms.Select(attrs={"autofocus": True}),
        error_messages={
            "required": gettext_lazy("Choose the version to deploy."),
            "invalid_choice": gettext_lazy(
                "This version is not Completed, or it was deleted. Choose another."
            ),
        },
    )
    auto_stop = forms.BooleanField(
        label=gettext_lazy("Auto Stop"),
        required=False,
        initial=True,
        help_text=gettext_lazy("The service stops by itself at this time and can be started again."),
    )
    stops_after = forms.ChoiceField(
        label=gettext_lazy("Stops"),
        choices=[*AUTO_STOP_CHOICES, (CUSTOM, gettext_lazy("Custom"))],
        widget=forms.RadioSelect,
        initial="1",
        required=False,
        error_messages={"invalid_choice": CHOOSE_TIME},
    )
    custom_hours = forms.IntegerField(
        label=gettext_lazy("Hours until it stops"),
        required=False,
        min_value=MIN_HOURS,
        max_value=MAX_HOURS,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), HOURS_RANGE),
    )

    def __init__(self, data: Any = None, *, project: Project, preselected: str = "") -> None:
        super().__init__(data)
        self.project = project
        versions = list(deployable_versions(project))
        field = self.fields["version"]
        assert isinstance(field, VersionField)
        field.queryset = deployable_versions(project)
        ranking = rank(project)
        field.ranking, field.help_text = lambda: ranking, ranking_help(ranking)
        selected = next(
            (version for version in versions if str(version.number) == preselected),
            ranking.proposed(versions),
        )
        self.initial = {"version": selected and selected.pk, "service_id": uuid4()}
        self.has_versions = bool(versions)

    def clean_service_id(self) -> UUID | None:
        """The id for the new service; None, which makes a new id, if another project's service has it."""
        service_id: UUID | None = self.cleaned_data["service_id"]
        if service_id and Service.objects.filter(pk=service_id).exclude(project=self.project).exists():
            return None
        return service_id

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["auto_stop_hours"] = self._hours(cleaned) if cleaned.get("auto_stop") else None
        return cleaned

    def _hours(self, cleaned: dict[str, Any]) -> int | None:
        choice = cleaned.get("stops_after")
        if choice == CUSTOM:
            if cleaned.get("custom_hours") is None and "custom_hours" not in self.errors:
                self.add_error("custom_hours", HOURS_RANGE)
            return cleaned.get("custom_hours")
        if not choice and "stops_after" not in self.errors:
            self.add_error("stops_after", CHOOSE_TIME)
        return int(choice) if choice else None


class MultipleFileInput(forms.FileInput):
    allow_multiple_selected = True


class MultipleImageField(forms.FileField):
    """An upload of several images; `cleaned_data` holds the list of files."""

    widget = MultipleFileInput(attrs={"accept": ACCEPT, "multiple": True})

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[bytes]]:
        files = data if isinstance(data, list) else [data]
        return [super(MultipleImageField, self).clean(file, initial) for file in files or [None]]


class PredictionForm(forms.Form):
    """Images for the test of a service."""

    image = MultipleImageField(
        label=gettext_lazy("Image"),
        error_messages={
            "required": gettext_lazy("Choose an image first."),
            "empty": gettext_lazy("This file is empty. Choose another image."),
            "missing": gettext_lazy("Choose an image first."),
            "invalid": gettext_lazy("Choose an image first."),
        },
    )

    def clean_image(self) -> list[UploadedFile[bytes]]:
        files: list[UploadedFile[bytes]] = self.cleaned_data["image"]
        limit = settings.EXEML_MAX_IMAGE_MB
        if len(files) > MAX_TEST_IMAGES:
            sentence = ngettext(
                "Choose at most %(count)s image. Use Batch for more.",
                "Choose at most %(count)s images. Use Batch for more.",
                MAX_TEST_IMAGES,
            )
            raise forms.ValidationError(sentence % {"count": count(MAX_TEST_IMAGES)})
        for file in files:
            if (file.size or 0) > limit * 1024 * 1024:
                sentence = gettext("“%(name)s” is larger than %(limit)s MB. Choose a smaller image.")
                if len(files) == 1:
                    sentence = gettext("The image is larger than %(limit)s MB. Choose a smaller one.")
                raise forms.ValidationError(sentence % {"name": file.name, "limit": count(limit)})
        return files

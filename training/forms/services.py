"""Forms of the service page: deploy a version, test a service."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet

from projects.formats.pictures.picture_formats import ACCEPT
from projects.models import Project
from training.evaluation.best_version import rank, with_overall_metrics
from training.forms.fields import VersionField, ranking_help
from training.models import Service, TrainingVersion

CUSTOM = "custom"
MIN_HOURS, MAX_HOURS = 1, 24
MAX_TEST_IMAGES = 24  # images in one test on the page
AUTO_STOP_CHOICES = [
    ("1", "1 hour later"),
    ("2", "2 hours later"),
    ("4", "4 hours later"),
    ("6", "6 hours later"),
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
            "required": "Choose the version to deploy.",
            "invalid_choice": "This version is not Completed, or it was deleted. Choose another.",
        },
    )
    auto_stop = forms.BooleanField(
        label="Auto Stop",
        required=False,
        initial=True,
        help_text="The service stops by itself at this time and can be started again.",
    )
    stops_after = forms.ChoiceField(
        label="Stops",
        choices=[*AUTO_STOP_CHOICES, (CUSTOM, "Custom")],
        widget=forms.RadioSelect,
        initial="1",
        required=False,
        error_messages={"invalid_choice": "Choose one of the times, or Custom."},
    )
    custom_hours = forms.IntegerField(
        label="Hours until it stops",
        required=False,
        min_value=MIN_HOURS,
        max_value=MAX_HOURS,
        error_messages={
            "invalid": "Enter a whole number of hours from 1 to 24.",
            "min_value": "Enter a whole number of hours from 1 to 24.",
            "max_value": "Enter a whole number of hours from 1 to 24.",
        },
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
                self.add_error("custom_hours", "Enter a whole number of hours from 1 to 24.")
            return cleaned.get("custom_hours")
        if not choice and "stops_after" not in self.errors:
            self.add_error("stops_after", "Choose one of the times, or Custom.")
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
        label="Image",
        error_messages={
            "required": "Choose an image first.",
            "empty": "This file is empty. Choose another image.",
            "missing": "Choose an image first.",
            "invalid": "Choose an image first.",
        },
    )

    def clean_image(self) -> list[UploadedFile[bytes]]:
        files: list[UploadedFile[bytes]] = self.cleaned_data["image"]
        limit = settings.EXEML_MAX_IMAGE_MB
        if len(files) > MAX_TEST_IMAGES:
            raise forms.ValidationError(f"Choose at most {MAX_TEST_IMAGES} images; Batch predicts thousands.")
        for file in files:
            if (file.size or 0) > limit * 1024 * 1024:
                which = "The image" if len(files) == 1 else f"“{file.name}”"
                raise forms.ValidationError(f"{which} is larger than {limit} MB. Choose a smaller one.")
        return files

"""Training Configuration: the only definition of the documented fields, defaults and ranges."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.functional import cached_property
from django.utils.translation import gettext, gettext_lazy

from projects.forms.datasets import PublicationForm
from projects.forms.fields import PlainNumberField
from projects.models import Project
from training.evaluation.best_version import rank, with_overall_metrics
from training.forms.fields import InstanceFlavorField, VersionField
from training.models import Hardware, InstanceFlavor, TrainingVersion
from training.models.version import (
    MAX_INFERENCE_MS,
    MAX_TRAINING_MINUTES,
    MIN_INFERENCE_MS,
    MIN_TRAINING_MINUTES,
)
from training.versions.flavors import FlavorOffer
from training.versions.lifecycle import TrainingRequest

DEFAULT_HOURS = Decimal(1)
MIN_HOURS, MAX_HOURS = Decimal(MIN_TRAINING_MINUTES) / 60, Decimal(MAX_TRAINING_MINUTES) / 60
# An incremental version keeps the inference hardware and duration of the version it continues.
INHERITED_FIELDS = ("inference_hardware", "max_inference_ms")


class TrainingConfigurationForm(PublicationForm):
    """The request to train a version of `project`.

    Fields check formats and ranges, the form checks what depends on the project. `cleaned_data` holds the
    domain's types, among them `max_training_minutes`.
    """

    incremental_version = VersionField(
        label=gettext_lazy("Incremental Training Version"),
        queryset=TrainingVersion.objects.none(),
        required=False,
        empty_label=gettext_lazy("None"),
        error_messages={
            "invalid_choice": gettext_lazy("Choose a Completed training version of this project, or None.")
        },
        help_text=gettext_lazy("Start from an earlier version, even if labels were added or removed."),
    )
    inference_hardware = forms.ChoiceField(
        label=gettext_lazy("Expected Inference Hardware"),
        choices=Hardware.choices,
        error_messages=dict.fromkeys(("required", "invalid_choice"), gettext_lazy("Choose NV_P4 or CPU.")),
        help_text=gettext_lazy("Where predictions will run: an NVIDIA P4 GPU or a CPU."),
    )
    max_inference_ms = PlainNumberField(
        label=gettext_lazy("Max. Inference Duration (Millisecond)"),
        pattern=r"[0-9]{1,9}",
        convert=int,
        min_value=MIN_INFERENCE_MS,
        max_value=MAX_INFERENCE_MS,
        sentence=gettext_lazy("Enter a whole number from 1 to 20000 milliseconds."),
        help_text=gettext_lazy(
            "Maximum prediction time for one image. A shorter time means a simpler network, which trains "
            "faster but may be less accurate."
        ),
    )
    max_training_hours = PlainNumberField(
        label=gettext_lazy("Max. Training Time (Hour)"),
        pattern=r"[0-9]{1,9}(\.[0-9]{1,2})?|\.[0-9]{1,2}",
        min_value=MIN_HOURS,
        max_value=MAX_HOURS,
        sentence=gettext_lazy(
            "Enter 0.1 to 100 hours with at most two decimal places, that is 6 to 6000 minutes."
        ),
        help_text=gettext_lazy(
            "Training ends when it has converged. At this limit the best model so far is kept."
        ),
    )
    instance_flavor = InstanceFlavorField(
        label=gettext_lazy("Instance Flavor"),
        queryset=InstanceFlavor.objects.none(),
        empty_label=None,
        error_messages=dict.fromkeys(
            ("required", "invalid_choice"), gettext_lazy("Choose one of the offered flavors.")
        ),
        help_text=gettext_lazy("The machine used for training."),
    )

    def __init__(self, data: QueryDict | dict[str, Any] | None = None, *, project: Project) -> None:
        super().__init__(data, project=project)
        self.flavor_offer = FlavorOffer.current()
        self._offer()
        self._propose()
        self._inherit()

    # --- choices and initial values ---

    def _offer(self) -> None:
        incremental = self.fields["incremental_version"]
        assert isinstance(incremental, VersionField)
        completed = self.project.training_versions.completed()
        incremental.queryset = with_overall_metrics(completed).order_by("-number")
        incremental.ranking = cache(lambda: rank(self.project))
        flavors = self.fields["instance_flavor"]
        flavors.queryset = InstanceFlavor.objects.filter(is_enabled=True)  # type: ignore[attr-defined]
        flavors.offer = self.flavor_offer  # type: ignore[attr-defined]

    def _propose(self) -> None:
        flavor = self.flavor_offer.preselected
        self.initial = {
            **self.initial,
            "inference_hardware": default_of("inference_hardware"),
            "max_inference_ms": str(default_of("max_inference_ms")),
            "max_training_hours": str(DEFAULT_HOURS),
            "instance_flavor": flavor.pk if flavor else None,
        }

    def _inherit(self) -> None:
        """Take hardware and duration from the incremental version; sent values are ignored."""
        if self.base is None:
            return
        for name in INHERITED_FIELDS:
            self.fields[name].disabled = True
            self.fields[name].help_text = gettext("Inherited from %(version)s.") % {"version": self.base}
            self.initial[name] = getattr(self.base, name)

    @cached_property
    def base(self) -> TrainingVersion | None:
        """The incremental version, if a valid one is chosen."""
        chosen: TrainingVersion | None = self.value_of("incremental_version")
        return chosen

    def value_of(self, name: str) -> Any:
        """The cleaned value of one field, None if it is invalid. For previews while the user types."""
        field = self.fields[name]
        is_typed = self.is_bound and not field.disabled
        typed = self[name].data if is_typed else self.get_initial_for_field(field, name)
        try:
            return field.clean(typed)
        except ValidationError:
            return None

    def request(self) -> TrainingRequest:
        """The training that a valid form asks for."""
        cleaned = self.cleaned_data
        return TrainingRequest(
            dataset_version=cleaned["dataset_version"],
            training_ratio=cleaned["training_ratio"],
            incremental_version=cleaned["incremental_version"],
            inference_hardware=cleaned["inference_hardware"],
            max_inference_ms=cleaned["max_inference_ms"],
            max_training_minutes=cleaned["max_training_minutes"],
            flavor=cleaned["instance_flavor"],
        )

    # --- checks that depend on the project ---

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "max_training_hours" in cleaned:
            cleaned["max_training_minutes"] = whole_minutes(cleaned["max_training_hours"])
        return cleaned


def whole_minutes(hours: Decimal) -> int:
    """Hours as minutes, rounded down, so that a training never takes longer than typed."""
    return int(hours * 60)


def default_of(name: str) -> Any:
    """The default of a field of TrainingVersion."""
    field: Any = TrainingVersion._meta.get_field(name)
    return field.get_default()

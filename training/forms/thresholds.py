"""Form of the answer settings of a version, and of a version in a service."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext, gettext_lazy

from training.evaluation.answer_figures import StoredPredictions
from training.models import Service, TrainingVersion
from training.serving.inference import model_cache
from training.versions import answer_settings
from training.versions.answer_settings import DECIMALS, AnswerSettings, DecisionRule

RANGE = gettext_lazy("Enter a number from 0 to 1, such as 0.35.")
THRESHOLD = "threshold:"


class ShareField(forms.FloatField):
    """A number from 0 to 1 with the decimals of a score. Empty is None: the model's own limit."""

    def __init__(self, **kwargs: Any) -> None:
        errors = dict.fromkeys(("invalid", "min_value", "max_value"), RANGE)
        super().__init__(required=False, min_value=0, max_value=1, error_messages=errors, **kwargs)
        self.widget.attrs |= {"step": "any", "inputmode": "decimal", "autocomplete": "off"}

    def to_python(self, value: Any) -> float | None:  # type: ignore[override]
        number = super().to_python(value)
        return None if number is None else round(number, DECIMALS)


class AnswerSettingsForm(forms.Form):
    """`settings` are the chosen settings of a valid form; an empty field leaves the model's own limit."""

    min_confidence = ShareField(
        label=gettext_lazy("Min. confidence"),
        help_text=gettext_lazy("An image whose best score is lower gets no label and is called unknown."),
    )
    min_familiarity = ShareField(
        label=gettext_lazy("Min. familiarity"),
        help_text=gettext_lazy(
            "An image with a lower familiarity is called unknown. Empty: the model’s own limits."
        ),
    )

    def __init__(
        self,
        data: Any = None,
        *,
        rule: DecisionRule,
        settings: AnswerSettings,
        detects_unknown: bool = True,
        prefix: str | None = None,
    ) -> None:
        super().__init__(data, prefix=prefix)
        self.rule = rule
        self.initial = {
            "min_confidence": settings.min_confidence or None,
            "min_familiarity": settings.min_familiarity,
        }
        if not detects_unknown:
            del self.fields["min_familiarity"]
        if rule.is_multi_label:
            del self.fields["min_confidence"]
            self._add_thresholds(settings)

    def _add_thresholds(self, settings: AnswerSettings) -> None:
        limits = zip(self.rule.labels, self.rule.in_force(settings), strict=True)
        for number, (label, threshold) in enumerate(limits):
            field = ShareField(label=label)
            field.widget.attrs["id"] = f"{self.prefix or 'label'}-threshold-{number}"
            self.fields[THRESHOLD + label] = field
            self.initial[THRESHOLD + label] = round(threshold, DECIMALS)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start = self.add_prefix(THRESHOLD)
        known = {self.add_prefix(name) for name in self.fields}
        unknown = [name for name in self.data if name.startswith(start) and name not in known]
        if unknown:
            label = unknown[0].removeprefix(start)[:64]
            sentence = gettext("This model does not know the label “%(label)s”.")
            raise forms.ValidationError(sentence % {"label": label})
        return cleaned

    @property
    def threshold_fields(self) -> list[forms.BoundField]:
        """The fields of the labels, in the order of the model."""
        return [self[name] for name in self.fields if name.startswith(THRESHOLD)]

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        """The fields that are not of one label."""
        return [self[name] for name in self.fields if not name.startswith(THRESHOLD)]

    @property
    def settings(self) -> AnswerSettings:
        """What differs from the model's own rule."""
        own = dict(zip(self.rule.labels, self.rule.thresholds, strict=True))
        chosen = {
            label: value
            for label in self.rule.labels
            if (value := self.cleaned_data.get(THRESHOLD + label)) is not None
            and value != round(own[label], DECIMALS)
        }
        confidence = self.cleaned_data.get("min_confidence") or 0.0
        return AnswerSettings(chosen, confidence, self.cleaned_data.get("min_familiarity"))


def form_of_version(
    version: TrainingVersion, predictions: StoredPredictions | None, data: Any = None
) -> AnswerSettingsForm | None:
    """The form of the version's settings; None without its predictions or its own thresholds."""
    if predictions is None:
        return None
    rule = model_cache.rule_of_evaluation(version, predictions.labels)
    if rule is None:
        return None
    settings = answer_settings.settings_of(version)
    return AnswerSettingsForm(data, rule=rule, settings=settings, detects_unknown=predictions.detects_unknown)


def form_in_service(
    service: Service, version: TrainingVersion, data: Any = None, prefix: str | None = None
) -> AnswerSettingsForm | None:
    """The form of the settings by which the version answers in the service; None without its model."""
    try:
        rule = model_cache.decision_rule(version)
        detects_unknown = model_cache.detects_unknown(version)
    except model_cache.ModelUnavailable:
        return None
    settings = answer_settings.settings_in(service, version)
    return AnswerSettingsForm(
        data, rule=rule, settings=settings, detects_unknown=detects_unknown, prefix=prefix
    )

"""Form fields of the Training Configuration: plain numbers, and choices that say what they are worth."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from training.models import Metric, TrainingVersion


class PlainNumberField(forms.CharField):
    """A number in plain digits: no sign, exponent, comma or digits of other scripts.

    Whatever is wrong, `sentence` says what would be right; only a decimal comma gets a sentence of its own.
    """

    comma = "Write the decimal point as a dot: {}."

    def __init__(
        self,
        *,
        pattern: str,
        sentence: str,
        least: Decimal | int,
        most: Decimal | int,
        convert: Callable[[str], Any] = Decimal,
        **kwargs: Any,
    ) -> None:
        self.pattern = re.compile(pattern)
        self.sentence, self.least, self.most, self.convert = sentence, least, most, convert
        attrs = {"inputmode": "numeric" if convert is int else "decimal", "autocomplete": "off"}
        super().__init__(widget=forms.TextInput(attrs=attrs), error_messages={"required": sentence}, **kwargs)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        if not text:
            return None
        if self.pattern.fullmatch(text):
            return self.convert(text)
        dotted = text.replace(",", ".", 1)
        is_comma = dotted != text and self.pattern.fullmatch(dotted)
        raise ValidationError(self.comma.format(dotted) if is_comma else self.sentence, code="invalid")

    def run_validators(self, value: Any) -> None:
        super().run_validators(value)
        if value is not None and not self.least <= value <= self.most:
            raise ValidationError(self.sentence, code="out of range")


class IncrementalVersionField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """The Completed versions, newest first, with what they achieved; the best one is marked."""

    best: int | None = None

    def label_from_instance(self, version: Any) -> str:
        accuracy, f1 = (overall_metric(version, name) for name in (Metric.Name.ACCURACY, Metric.Name.F1))
        words = [version.name]
        words += [f"accuracy {100 * accuracy:.1f} %"] if accuracy is not None else []
        words += [f"F1 {f1:.3f}"] if f1 is not None else []
        return " · ".join(words) + (" (best)" if version.pk == self.best else "")


class InstanceFlavorField(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, flavor: Any) -> str:
        return str(flavor.name)


def overall_metric(version: TrainingVersion, name: str) -> float | None:
    """A number of the whole evaluation, from the prefetched metrics."""
    return next((metric.value for metric in version.metrics.all() if metric.name == name), None)

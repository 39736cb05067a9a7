"""Form fields of the Training Configuration: plain numbers, and versions with their metrics."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count
from training.evaluation.best_version import Ranking
from training.versions.flavors import FlavorOffer

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class PlainNumberField(forms.CharField):
    """A number in plain digits: no sign, exponent, comma or digits of other scripts.

    `sentence` is the message of every error except a decimal comma, which has its own.
    """

    def __init__(
        self,
        *,
        pattern: str,
        sentence: str | _StrPromise,
        min_value: Decimal | int,
        max_value: Decimal | int,
        convert: Callable[[str], Any] = Decimal,
        **kwargs: Any,
    ) -> None:
        self.pattern = re.compile(pattern)
        self.sentence, self.convert = sentence, convert
        self.min_value, self.max_value = min_value, max_value
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
        with_dot = gettext("Write the decimal point as a dot: %(number)s.") % {"number": dotted}
        raise ValidationError(with_dot if is_comma else self.sentence, code="invalid")

    def run_validators(self, value: Any) -> None:
        super().run_validators(value)
        if value is not None and not self.min_value <= value <= self.max_value:
            raise ValidationError(self.sentence, code="out of range")  # not translated: a code


class VersionField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice of versions with their numbers on the same images, and the mark of the `ranking`.

    Its query set has the annotations of `with_overall_metrics`. The ranking is asked for when it is shown.
    """

    ranking: Callable[[], Ranking] = Ranking

    def label_from_instance(self, version: Any) -> str:
        return self.ranking().describe(version)


class InstanceFlavorField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice of flavors, each with the remark of the `offer`, as in “runs on the CPU here”."""

    offer = FlavorOffer(())

    def label_from_instance(self, flavor: Any) -> str:
        remark = self.offer.remark(flavor)
        return f"{flavor.name} · {gettext(remark)}" if remark else str(flavor.name)


def ranking_help(ranking: Ranking) -> str:
    """On which images the offered versions are compared; empty where they are not."""
    if not ranking.images:
        return ""
    sentence = ngettext(
        "Accuracy and precision (macro average) are measured on the same %(count)s validation image, with "
        "its current labels.",
        "Accuracy and precision (macro average) are measured on the same %(count)s validation images, with "
        "their current labels.",
        ranking.images,
    )
    return sentence % {"count": count(ranking.images)}

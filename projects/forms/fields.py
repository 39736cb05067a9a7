"""Form fields that forms of several pages share."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

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


def plain_number(number: float) -> str:
    """The number in plain digits, as PlainNumberField reads it."""
    return f"{Decimal(repr(number)).normalize():f}"

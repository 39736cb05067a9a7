"""Hard examples: the documented reasons why an image may be hard for a model.

The numbers are those of `@modelarts:hard_reasons` in manifests. Reasons about boxes (11–18) do not apply to
image classification; 0, 4, 8, 9 and numbers from 19 on are not detected.
"""

from __future__ import annotations

from django.utils.translation import gettext_lazy

REASONS = {
    1: gettext_lazy("the model is not confident"),
    2: gettext_lazy("its nearest neighbours have a label other than the prediction"),
    3: gettext_lazy("it is unlike the images of its label"),
    5: gettext_lazy("its size is very different from the others’"),
    6: gettext_lazy("its shape is very different from the others’"),
    7: gettext_lazy("it is much darker or brighter than the others"),
    10: gettext_lazy("it is much more blurred or sharper than the others"),
}


def parse_reasons(stored: str) -> list[int]:
    return [int(number) for number in stored.split(",") if number]


def format_reasons(numbers: list[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def describe_reasons(stored: str) -> str:
    """The reasons as text: “the model is not confident; its shape is very different from the others’”."""
    return "; ".join(str(REASONS[number]) for number in parse_reasons(stored) if number in REASONS)

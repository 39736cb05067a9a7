"""Lists as text; the natural order of names; characters that no name may have."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, TypeAlias

from django.core.exceptions import ValidationError
from django.utils.text import Truncator
from django.utils.translation import gettext

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

AnyText: TypeAlias = "str | _StrPromise"  # also one of gettext_lazy, which reads in the language of the page

# Control characters, those that turn the direction of text, invisible ones, and lone surrogates. The joiners
# U+200C and U+200D are not among them: Persian and Hindi words, and emoji, need them.
HIDDEN = (
    "\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f"
)
_HIDDEN = re.compile(f"[{HIDDEN}]")


def validate_name(name: str) -> None:
    """Raises ValidationError for a name with hidden characters, in which people could see another name."""
    if found := _HIDDEN.search(name):
        character = f"U+{ord(found[0]):04X} {unicodedata.name(found[0], '')}".strip()
        sentence = gettext("Names cannot have hidden or control characters. Remove %(character)s.")
        raise ValidationError(sentence % {"character": character}, code="hidden")


def without_hidden(name: str) -> str:
    return _HIDDEN.sub("", name)


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sort key of a name as people read it: “img 9” before “img 10”, “apple” beside “Apple”."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts if part]


def listed(names: set[str]) -> str:
    return ", ".join(f"“{Truncator(name).chars(40)}”" for name in sorted(names))

"""What the walkers find, and which strings read like texts for people."""

from __future__ import annotations

import re
from dataclasses import dataclass

WORD = re.compile(r"[(“\"']*[^\W\d_]+(?:[’'][^\W\d_]+)?[.,;:?!)”…\"']*")


@dataclass(frozen=True)
class Finding:
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {' '.join(self.text.split())}"


def line_of(source: str, offset: int) -> int:
    return source.count("\n", 0, offset) + 1


def has_words(text: str) -> bool:
    """Whether a string reads like a text: two words with a capital, an end of a sentence, or three words.

    Words are letters alone, so that names of classes, selectors, paths and formats are none.
    """
    parts = re.sub(r"<(kbd|code)>.*?</\1>|<[^<>]*>", " | ", text).split()
    words = [part for part in parts if WORD.fullmatch(part) and re.search(r"[^\W\d_]{2}", part)]
    if not words or len(words) * 2 < len([part for part in parts if part != "|"]):
        return False
    is_capital = words[0].lstrip("(“\"'")[:1].isupper() and not words[0].isupper()
    is_end = text.rstrip()[-1:] in ".?!…" and len(words) > 1
    return len(words) > 2 or is_end or (is_capital and (len(words) > 1 or "|" in parts))

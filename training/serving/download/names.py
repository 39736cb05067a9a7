"""Names that people chose, as a download may carry them: in a path, in a command, in a line of text."""

from __future__ import annotations

import re


def path_name(name: str) -> str:
    """The name in characters that every file system and every shell takes as they are."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:100] or "model"


def image_tag(name: str) -> str:
    """The name as a tag of a container image: small letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:100] or "model"


def one_line(name: str) -> str:
    """The name without line breaks and characters that are not seen."""
    return "".join(character if character.isprintable() else " " for character in name).strip()

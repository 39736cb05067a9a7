"""Which program this is: its version, and a digest of its code that differs between two states of it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from django.conf import settings

from exeml_site import __version__

CODE = ("exeml_site", "projects", "training", "templates")
SUFFIXES = {".py", ".html", ".jinja"}
DIGITS = 8


@cache
def program_name() -> str:
    """Version and digest of the code: “0.1.0 (3fa9c2d1)”. Equal on machines that run the same program."""
    return f"{__version__} ({_code_digest()})"


def _code_digest() -> str:
    digest, root = hashlib.sha256(), Path(settings.BASE_DIR)
    for folder in CODE:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:DIGITS]

"""Compiled catalogues: `locale/*/LC_MESSAGES/*.mo`, made from the `.po` files, which alone are committed."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

import polib
from django.conf import settings


def source_files() -> list[Path]:
    return sorted(path for root in settings.LOCALE_PATHS for path in Path(root).glob("*/LC_MESSAGES/*.po"))


def compile_catalogues() -> list[Path]:
    """Compile the catalogues whose `.mo` is missing or older than its `.po`; return those.

    Fuzzy and empty translations are left out: their texts stay English.
    """
    stale = [source for source in source_files() if _is_stale(source)]
    for source in stale:
        target = source.with_suffix(".mo")
        own = target.with_suffix(f".{os.getpid()}")
        polib.pofile(str(source)).save_as_mofile(str(own))
        own.replace(target)  # atomic: several programs may start at once
    return stale


@cache
def catalogue_version() -> str:
    """Changes with any catalogue: part of the address under which browsers keep the texts of scripts."""
    digest = hashlib.sha256()
    for source in source_files():
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _is_stale(source: Path) -> bool:
    target = source.with_suffix(".mo")
    return not target.is_file() or target.stat().st_mtime < source.stat().st_mtime

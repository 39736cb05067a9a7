"""The catalogues below locale/: complete, with the placeholders of the texts, and as new as the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils.translation import to_locale

from tests.languages.areas import TRANSLATED
from tests.languages.untranslated import ROOT, WHERE

LOCALES = [to_locale(code) for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
CATALOGUES = [path for locale in LOCALES for path in sorted((ROOT / "locale" / locale).rglob("*.po"))]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\w*\}|</?\w+")
Key = tuple[str | None, str, str]


def names(path: Path) -> str:
    return str(path.relative_to(ROOT / "locale"))


def key(entry: polib.POEntry) -> Key:
    return entry.msgctxt, entry.msgid, entry.msgid_plural


def plurals(catalogue: polib.POFile) -> int:
    return int(re.search(r"nplurals\s*=\s*(\d)", catalogue.metadata["Plural-Forms"])[1])


def faults(entry: polib.POEntry, forms: int) -> list[str]:
    """What is wrong with a translation."""
    if entry.obsolete or entry.fuzzy:
        return ["obsolete" if entry.obsolete else "fuzzy"]
    texts = [entry.msgstr_plural.get(n, "") for n in range(forms)] if entry.msgid_plural else [entry.msgstr]
    if not all(texts) or len(entry.msgstr_plural) > forms:
        return ["not translated, or not in all plural forms"]
    found = []
    source = entry.msgid_plural or entry.msgid
    for text in texts:
        needed, there = (set(PLACEHOLDER.findall(part)) for part in (source, text))
        own = set(PLACEHOLDER.findall(entry.msgid))  # a singular may say “one” instead of the number
        if not (there == needed or (entry.msgid_plural and text is texts[0] and there == own)):
            found.append(f"placeholders {sorted(needed ^ there)}")
        if [len(text) - len(text.lstrip()), len(text) - len(text.rstrip())] != [
            len(entry.msgid) - len(entry.msgid.lstrip()),
            len(entry.msgid) - len(entry.msgid.rstrip()),
        ]:
            found.append("blanks at an end")
    return found


def test_every_language_has_catalogues() -> None:
    assert {path.name for path in CATALOGUES} == {"django.po", "djangojs.po"}
    assert len(CATALOGUES) == 2 * len(LOCALES) == 10


@pytest.mark.parametrize("path", CATALOGUES, ids=names)
def test_every_translation_is_right_and_none_is_missing_where_a_language_is_complete(path: Path) -> None:
    catalogue = polib.pofile(str(path))
    forms = plurals(catalogue)
    is_complete = path.relative_to(ROOT / "locale").parts[0] in TRANSLATED
    entries = [
        entry for entry in catalogue if is_complete or entry.translated() or entry.fuzzy or entry.obsolete
    ]
    assert [(entry.msgid, fault) for entry in entries for fault in faults(entry, forms)] == []


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (polib.POEntry(msgid="Go"), "not translated, or not in all plural forms"),
        (polib.POEntry(msgid="Go", msgstr="Los", flags=["fuzzy"]), "fuzzy"),
        (polib.POEntry(msgid="%(n)s of", msgstr="von"), "placeholders ['%(n)s']"),
        (polib.POEntry(msgid="<b>Go</b>", msgstr="Los"), "placeholders ['</b', '<b']"),
        (polib.POEntry(msgid="Go", msgstr="Los "), "blanks at an end"),
        (
            polib.POEntry(msgid="one", msgid_plural="%(n)s", msgstr_plural={0: "eins"}),
            "not translated, or not in all plural forms",
        ),
        (polib.POEntry(msgid="one", msgid_plural="%(n)s", msgstr_plural={0: "eins", 1: "%(n)s"}), None),
    ],
)
def test_a_fault_of_a_translation_is_found(entry: polib.POEntry, fault: str | None) -> None:
    assert faults(entry, 2) == ([fault] if fault else [])


@pytest.mark.slow
def test_the_catalogues_hold_the_texts_of_the_code(tmp_path: Path) -> None:
    if not shutil.which("xgettext"):
        pytest.skip("xgettext is not installed: apt-get install gettext")
    for folder in WHERE:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copytree(ROOT / "locale", tmp_path / "locale")
    shutil.copy(ROOT / "manage.py", tmp_path)
    command = [sys.executable, "manage.py", "messages"]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "exeml_site.settings"}
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, env=environment)
    for path in CATALOGUES:
        made = polib.pofile(str(tmp_path / path.relative_to(ROOT)))
        assert {key(entry) for entry in made} == {key(entry) for entry in polib.pofile(str(path))}, (
            "make messages"
        )

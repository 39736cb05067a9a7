"""Names: modules are nouns, a class name means one thing, the glossary's words are used."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest

from tests.architecture.test_imports import MODULES, ROOT

# Nouns of the field that end in -ing. Another one needs a reason that a stranger would accept.
GERUNDS = {"matching", "monitoring", "path_mapping", "scoring"}
# Django looks these up by their names.
SAME_NAME = {"Command", "DatabaseWrapper"}
# Words of our own that the glossary of docs/architecture.md replaced, and what to write instead.
REPLACED = {
    "deed": "action",
    "stranger": "unknown, or a person outside the team",
    "foretell": "forecast",
    "miniature": "duplicate key",
    "tidy": "normalize",
}


def test_a_module_is_named_by_a_noun() -> None:
    wrong = [
        module
        for module, path in MODULES.items()
        if ".migrations." not in module and path.name != "__init__.py"
        if path.stem.endswith("ing") and path.stem not in GERUNDS
    ]
    assert wrong == []


@pytest.mark.parametrize("app", ["projects", "training"])
def test_a_form_module_is_named_as_its_page(app: str) -> None:
    """`fields` holds what several forms share."""
    forms, views = ({path.stem for path in (ROOT / app / part).glob("*.py")} for part in ("forms", "views"))
    assert forms - views <= {"fields"}


def test_a_stylesheet_is_named_as_a_page_or_a_folder_of_pages() -> None:
    pages = {path.stem for app in ("projects", "training") for path in (ROOT / app / "views").glob("*.py")}
    folders = {path.name for path in (ROOT / "templates").iterdir() if path.is_dir()}
    shared = {"base", "tokens", "print", "report", "service_pages"}
    assert {path.stem for path in (ROOT / "static" / "css").glob("*.css")} <= pages | folders | shared


# The engine's files, word for word: tests compare them.
SAME_FILES = {"projects.formats.pictures.picture_formats", "projects.formats.splits.split_folders"}


def test_a_class_name_means_one_thing() -> None:
    modules = defaultdict(list)
    for module, path in MODULES.items():
        if ".migrations." in module or ".kit." in module:  # the kit runs elsewhere
            continue
        if module in SAME_FILES:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(module)
    twice = {name: places for name, places in modules.items() if len(places) > 1 and name not in SAME_NAME}
    assert twice == {}


def test_replaced_words_do_not_come_back() -> None:
    words = re.compile(rf"\b({'|'.join(REPLACED)})s?\b", re.IGNORECASE)
    folders = [ROOT / name for name in ("exeml_site", "projects", "training", "templates")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".html")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: “{match}”: {REPLACED[match.lower()]}"
        for path in paths
        if "migrations" not in path.parts and path.name != "job_names.py"  # it keeps the names of former jobs
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for match in words.findall(line)
    ]
    assert found == []

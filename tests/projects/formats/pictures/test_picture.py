"""The formats of pictures have one source: code, pages and documents name the same ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from projects.formats.pictures.picture_formats import ACCEPT, FORMAT_NAMES, FORMATS
from tests.factories import make_project
from training.serving.openapi import openapi_document

ROOT = Path(__file__).resolve().parents[4]
PROGRAMS = [
    path
    for folder in ("exeml_site", "projects", "training", "benchmarks", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


@pytest.mark.parametrize("page", ["docs/tour.md", "docs/services.md", "SECURITY.md"])
def test_a_document_names_the_formats(page: str) -> None:
    assert FORMAT_NAMES in (ROOT / page).read_text().replace("\n  ", " ").replace("\n", " ")


@pytest.mark.django_db
def test_label_data_names_the_formats_and_offers_their_files(bob: Client) -> None:
    page = bob.get(reverse("label_data", args=[make_project(images=0).pk])).content.decode()
    assert FORMAT_NAMES in page and ACCEPT in page
    assert "image/heic" in ACCEPT and ".heic" in ACCEPT and ".jp2" in ACCEPT


def test_the_description_of_the_api_names_the_formats() -> None:
    assert FORMAT_NAMES in str(openapi_document("http://localhost"))


def test_every_format_has_a_type_and_suffixes() -> None:
    for known in FORMATS.values():
        assert known.content_type.startswith("image/")
        assert known.suffixes and all(suffix.startswith(".") for suffix in known.suffixes)


def test_pillow_is_never_left_to_guess_the_format() -> None:
    """Pillow knows 40 formats, among them PDF, PSD, FITS and EPS: every call of its `open` names some."""
    unnamed = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PROGRAMS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "open"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("Image", "Pillow", "Picture", "PIL")
        and "formats" not in {keyword.arg for keyword in node.keywords}
    ]
    assert unnamed == []

"""Names, notes and stars of versions, and the consequences of deleting one."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from exeml_site.lib import storage
from projects.models import Project
from tests.factories import make_version
from tests.pages import html_of
from training.models import Status, TrainingVersion
from training.versions import lifecycle

pytestmark = pytest.mark.django_db


def url(version: TrainingVersion, view: str) -> str:
    return reverse(view, args=[version.project_id, version.number])


def test_a_labeler_gives_a_name_a_note_and_a_star(version: TrainingVersion, bob: Client) -> None:
    bob.post(url(version, "describe_version"), {"title": "before the move", "note": "Old lamps.\nNew lens."})
    bob.post(url(version, "star_version"), {"starred": "1"})
    html = html_of(bob.get(url(version, "training_version")))
    assert "Old lamps.<br>New lens." in html and html.count("before the move") >= 2
    assert 'aria-pressed="true"' in html and "starred</span>" in html
    bob.post(url(version, "star_version"), {"starred": "0"})
    assert 'aria-pressed="false"' in html_of(bob.get(url(version, "training_version")))


def test_a_name_that_is_too_long_comes_back_with_what_was_typed(
    version: TrainingVersion, bob: Client
) -> None:
    answer = bob.post(url(version, "describe_version"), {"title": "x" * 65, "note": "kept as typed"})
    assert answer.status_code == 422
    html = html_of(answer)
    assert "Use at most 64 characters; these are" in html and "kept as typed" in html
    version.refresh_from_db()
    assert version.title == ""


def test_what_is_written_is_text_and_never_markup(version: TrainingVersion, bob: Client) -> None:
    bob.post(url(version, "describe_version"), {"title": "<b>bold</b>", "note": "<script>alert(1)</script>"})
    html = html_of(bob.get(url(version, "training_version")))
    assert "<b>bold" not in html and "<script>alert" not in html and "&lt;b&gt;bold" in html


def test_a_viewer_reads_and_writes_nothing(version: TrainingVersion, vera: Client) -> None:
    assert vera.post(url(version, "describe_version"), {"title": "mine"}).status_code == 403
    assert vera.post(url(version, "star_version"), {"starred": "1"}).status_code == 403
    assert 'id="star"' not in html_of(vera.get(url(version, "training_version")))


def test_deleting_says_what_it_frees_and_what_would_break(
    project: Project, version: TrainingVersion, alice: Client
) -> None:
    make_version(project, 2, Status.COMPLETED, incremental_version=version)
    default_storage.save(f"{version.folder}/charts/one.svg", ContentFile(b"x" * 1_300_000))
    size = lifecycle.size_on_disk(version)
    assert size > 1_300_000
    html = html_of(alice.get(url(version, "delete_training_version")))
    assert "An operator can restore it for 30 days." in html
    assert f"Then <strong>{size / 1e6:.1f} MB</strong> are freed." in html
    assert "V002 started from it: it keeps its own model" in html
    assert "It can no longer be compared with other versions." in html
    assert "lose its predictions" not in html  # V002 is newer and gives them


def test_an_empty_folder_has_no_size() -> None:
    assert storage.folder_size("training/nothing-here") == 0

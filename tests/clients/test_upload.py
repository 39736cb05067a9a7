"""Uploads of the Python client: resumed, labeled, counted. Against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import exeml
from exeml import upload
from projects.models import IdempotentCall, Image
from tests.clients.conftest import Client
from tests.factories import picture_bytes

pytestmark = pytest.mark.django_db(transaction=True)
LABELS = ("roses", "tulips")


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "FILES_AT_ONCE", 4)


def make_photos(folder: Path, per_label: int = 9) -> Path:
    for place, label in enumerate(LABELS):
        for number in range(per_label):
            path = folder / label / "2026" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture_bytes(100 * place + number))
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(picture_bytes(999))
    return folder


def labels_of(project: exeml.Project[exeml.Blocking]) -> dict[str, int]:
    return {label.name: label.image_count for label in project.labels()}


def test_an_interrupted_upload_is_finished_without_doubles(client: Client, tmp_path: Path) -> None:
    photos, project = make_photos(tmp_path), client.create_project("flowers")

    def interrupt(progress: exeml.UploadProgress) -> None:
        if progress.report.stored_count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.upload(photos, labels="folders", on_progress=interrupt)
    stored = Image.objects.count()
    assert 0 < stored < 18, "it was interrupted in the middle"
    seen: list[tuple[int, int]] = []
    report = project.upload(
        photos, labels="folders", on_progress=lambda now: seen.append((now.done_count, now.total_count))
    )
    assert (report.known_count, report.stored_count) == (stored, 18 - stored)
    assert (report.duplicate_count, report.refused) == (0, [])
    assert Image.objects.count() == 18 and labels_of(project) == {"roses": 9, "tulips": 9}
    assert seen[-1] == (18, 18) and seen == sorted(seen)
    calls = IdempotentCall.objects.count()
    again = project.upload(photos, labels="folders")
    assert (again.known_count, again.stored_count) == (18, 0)
    assert IdempotentCall.objects.count() == calls, "nothing was sent"


def test_images_whose_labels_were_lost_get_them_and_others_keep_theirs(
    client: Client, tmp_path: Path
) -> None:
    photos, project = make_photos(tmp_path, per_label=2), client.create_project("flowers")
    project.upload(photos)  # as if each call had ended before its labels
    first, *_ = project.images(sort="oldest")
    project.annotate(first, add="daisies")
    project.upload(photos, labels="folders")
    assert labels_of(project) == {"daisies": 1, "roses": 1, "tulips": 2}


def test_every_image_can_get_the_same_labels(client: Client, tmp_path: Path) -> None:
    project = client.create_project("flowers", is_multi_label=True)
    report = project.upload(make_photos(tmp_path, 2), labels=["flower", "outdoors"])
    assert report.stored_count == 4 and labels_of(project) == {"flower": 4, "outdoors": 4}


def test_a_file_that_is_refused_stops_no_other(client: Client, tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 2)
    (photos / "broken.png").write_bytes(b"no image")
    same = photos / "roses" / "same.png"
    same.write_bytes((photos / "roses" / "2026" / "0.png").read_bytes())
    gone = photos / "gone.png"
    gone.symlink_to(tmp_path / "nowhere")
    report = client.create_project("flowers").upload([photos, *photos.glob("gone.png")])
    assert (report.stored_count, report.duplicate_count) == (4, 1)
    assert sorted(file.name for file in report.refused) == ["broken.png"]


def test_a_folder_without_images_is_said(client: Client, tmp_path: Path) -> None:
    project = client.create_project("flowers")
    with pytest.raises(FileNotFoundError, match="no image"):
        project.upload(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        project.upload(tmp_path / "nowhere")


def test_asyncio_uploads_by_the_same_rules(server: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 3)
    url, token = server()

    async def run() -> tuple[exeml.UploadReport, exeml.UploadReport, list[str]]:
        async with exeml.connect_async(url, token) as client:
            project = await client.create_project("flowers")
            first = await project.upload(photos, labels="folders")
            second = await project.upload(photos, labels="folders")
            return first, second, [label.name async for label in project.labels()]

    first, second, labels = asyncio.run(run())
    assert (first.stored_count, second.known_count, sorted(labels)) == (6, 6, ["roses", "tulips"])

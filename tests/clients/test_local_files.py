"""Files of this machine: odd names are uploaded, names of the server lead nowhere else, Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import exeml
from exeml import upload
from exeml.core import transports
from projects.models import Image, Project
from tests.clients.conftest import Client
from tests.clients.scripted_server import Scripted, scripted
from tests.clients.test_command_line import exeml as command
from tests.factories import picture_bytes

live = pytest.mark.django_db(transaction=True)
ROW = {"id": 1, "name": "flowers"}
TOO_LONG = "x" * 80  # for a label


def picture(path: Path | bytes, seed: int) -> None:
    name = os.fsencode(path)
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(picture_bytes(seed))


# --- Uploads ---


@live
def test_names_of_any_bytes_are_uploaded_and_pipes_are_left_out(client: Client, tmp_path: Path) -> None:
    picture(os.fsencode(tmp_path) + b"/\xff\xfe.png", 1)
    picture(tmp_path / "日本 ünï.png", 2)
    picture(tmp_path / "dangling.png", 3)
    (tmp_path / "dangling.png").replace(tmp_path / "a\nb.png")
    (tmp_path / "dangling.png").symlink_to("/nowhere.png")
    (tmp_path / "empty.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    report = client.create_project("flowers").upload(tmp_path)
    assert (report.stored_count, [file.name for file in report.refused]) == (3, ["empty.png"])
    assert {"��.png", "日本 ünï.png"} < set(Image.objects.values_list("name", flat=True))
    with pytest.raises(ValueError, match="is no file"):
        client.project("flowers").upload(tmp_path / "pipe.png")


@live
def test_a_label_that_is_refused_is_told_and_stops_no_other(client: Client, tmp_path: Path) -> None:
    picture(tmp_path / TOO_LONG / "1.png", 1)
    picture(tmp_path / "roses" / "2.png", 2)
    project = client.create_project("flowers")
    report = project.upload(tmp_path, labels="folders")
    assert report.stored_count == 2
    assert [remark.name for remark in report.remarks] == ["1.png"] and "not valid" in report.remarks[0].reason
    project.annotate(list(project.images()), remove="roses")  # as if its call had ended before the label
    again = project.upload(tmp_path, labels="folders")
    assert again.known_count == 2 and [row.name for row in again.remarks] == [f"{TOO_LONG}/1.png"]
    assert "not valid" in again.remarks[0].reason
    assert {label.name: label.image_count for label in project.labels()} == {"roses": 1}


@live
@pytest.mark.parametrize("way", ["blocking", "asyncio"])
def test_a_large_file_is_read_while_it_is_sent(
    server: Callable[..., tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(upload, "BYTES_AT_ONCE", 10)
    url, token = server()
    picture(tmp_path / "1.png", 1)

    async def upload_async() -> int:
        async with exeml.connect_async(url, token) as client:
            return (await (await client.create_project("flowers")).upload(tmp_path)).stored_count

    if way == "asyncio":
        assert asyncio.run(upload_async()) == 1
    else:
        with exeml.connect(url, token) as client:
            assert client.create_project("flowers").upload(tmp_path).stored_count == 1
    assert Image.objects.get().size_bytes == (tmp_path / "1.png").stat().st_size


def test_an_interrupted_upload_does_not_wait_for_a_server_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(transports, "GRACE_S", 0.0)
    for number in range(2):
        picture(tmp_path / f"{number}.png", number)
    stored = Scripted(body={"items": [{"name": "0.png", "status": "stored"}]})
    released = threading.Event()
    hangs = Scripted(body={"items": []}, waits_for=released)

    def interrupt(progress: exeml.UploadProgress) -> None:
        if progress.done_count:
            raise KeyboardInterrupt

    with scripted(Scripted(body=ROW), Scripted(body={"known": {}}), stored, hangs) as server:
        client = exeml.connect(server.url, "exeml_secret")
        with pytest.raises(KeyboardInterrupt):
            client.project(1).upload(tmp_path, on_progress=interrupt)
        assert not released.is_set(), "the other call still hangs"
        released.set()


# --- Downloads ---


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("a.png", "a.png"),
        ("../../a.png", "a.png"),
        ("/etc/a.png", "a.png"),
        ("..\\..\\a.png", "a.png"),
        ("C:\\a.png", "a.png"),
        (".bashrc", "bashrc"),
        ("a\x1b[2J.png", "a[2J.png"),
        ("..", "image-5"),
        ("", "image-5"),
        ("日本.png", "日本.png"),
    ],
)
def test_no_name_of_an_image_leads_out_of_the_folder(tmp_path: Path, name: str, local: str) -> None:
    answers = Scripted(body=ROW), Scripted(body={"id": 5, "name": name}), Scripted(body="content")
    with scripted(*answers) as server, exeml.connect(server.url, "exeml_secret") as client:
        path = client.project(1).image(5).download(tmp_path)
    assert path == tmp_path / local and path.read_text() == "content"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_waits_in_the_folder_is_not_written_through(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("mine")
    (tmp_path / ".export.zip.part").symlink_to(other)
    answers = Scripted(body=ROW), Scripted(body="content")
    with scripted(*answers) as server, exeml.connect(server.url, "exeml_secret") as client:
        client.project(1).export(tmp_path / "export.zip")
    assert (other.read_text(), (tmp_path / "export.zip").read_text()) == ("mine", "content")


def test_a_name_cannot_lead_to_another_address() -> None:
    service = {"id": "s", "name": "s"}
    with (
        scripted(Scripted(body=ROW), Scripted(body=service)) as server,
        exeml.connect(server.url, "exeml_secret") as client,
    ):
        project = client.project(1)
        project.service("../../teams?x=")
        project.dataset_version("v1.0/../x")
    paths = [request.path for request in server.received[1:]]
    root = "/api/v1/projects/1"
    assert paths == [
        f"{root}/services/%2E%2E%2F%2E%2E%2Fteams%3Fx%3D",
        f"{root}/dataset-versions/v1%2E0%2F%2E%2E%2Fx",
    ]


@live
def test_a_dataset_version_with_dots_is_found(client: Client) -> None:
    project = client.create_project("flowers")
    Project.objects.get().dataset_versions.create(name="v1.0", training_ratio="0.8")
    assert project.dataset_version("v1.0").name == "v1.0"


# --- The command line ---


def test_login_stores_no_empty_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXEML_TOKEN", "exeml_secret")
    with scripted(Scripted(body={"username": "alice", "scopes": []})) as server:
        result = command("login", server.url, given="\n")
    assert result.exit_code == 3 and "No token was given" in result.stderr and server.received == []


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    rows = [{"id": 1, "name": "a\x1b]0;x\x07\x9bb\n日本", "image_count": 1}]
    answers = Scripted(body={"items": rows, "next": None})
    env = {"EXEML_TOKEN": "exeml_secret"}
    with scripted(answers) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in {**env, "EXEML_URL": server.url}.items():
            patch.setenv(name, value)
        listed, refused = command("projects"), command("images", "x\x1b[2J")
    assert "a�]0;x��b" in listed.stdout and "日本" in listed.stdout
    assert "x�[2J" in refused.stderr and "\x1b" not in listed.stdout + refused.stderr

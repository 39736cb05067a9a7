"""Projects, images, labels and settings of the Python client, against the real server."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import exeml
from exeml.core import settings
from exeml.core.pictures import encoded
from tests.clients.conftest import Client
from tests.factories import make_project, picture_bytes

live = pytest.mark.django_db(transaction=True)


@live
def test_a_project_is_found_by_its_name_or_id_and_created_in_the_only_team(client: Client) -> None:
    created = client.create_project("Flowers", description="of the garden")
    assert client.project("flowers").id == client.project(created.id).id == created.id
    assert [project.description for project in client.projects(search="garden")] == ["of the garden"]
    with pytest.raises(exeml.Problem) as raised:
        client.project("trees")
    assert raised.value.status == 404
    with pytest.raises(exeml.Problem) as taken:
        client.create_project("flowers")
    assert taken.value.errors[0].field == "name"


@live
def test_images_are_listed_labeled_and_taken_back(client: Client) -> None:
    make_project(labels=2, images=2, unlabeled=3, with_files=True)
    project = client.project("flowers")
    assert [image.labels for image in project.images(label="LABEL-0")] == [["label-0"]] * 2
    unlabeled = list(project.images(tab="unlabeled"))
    action = project.annotate(unlabeled, add="label-1")
    assert {label.name: label.image_count for label in project.labels()} == {"label-0": 2, "label-1": 5}
    assert project.undo(action.event_id).changed_count == 3
    project.annotate_each({unlabeled[0].id: "label-0", unlabeled[1].id: ["label-1"]})
    assert [label.image_count for label in project.labels()] == [3, 3]
    image = project.image(unlabeled[0].id)
    assert image.labels == ["label-0"] and image.content() == picture_bytes(6)
    with pytest.raises(exeml.Problem, match="no label"):
        list(project.images(label="trees"))


@live
def test_both_ways_give_the_same(server: Callable[..., tuple[str, str]]) -> None:
    make_project(labels=1, images=3)
    url, token = server("read")

    async def read() -> tuple[str, list[str]]:
        async with exeml.connect_async(url, token) as client:
            project = await client.project("flowers")
            return project.name, [image.name async for image in project.images(sort="name")]

    with exeml.connect(url, token) as client:
        project = client.project("flowers")
        expected = project.name, [image.name for image in project.images(sort="name")]
        assert asyncio.run(read()) == expected and len(expected[1]) == 3
        with pytest.raises(exeml.Problem) as raised:
            project.annotate([1], add="x")
    assert raised.value.status == 403 and "label" in raised.value.detail


@live
def test_labels_are_published_compared_and_restored(client: Client, tmp_path: Path) -> None:
    make_project(labels=2, images=6)
    project = client.project("flowers")
    first = project.publish()
    assert (first.name, first.image_count) == ("V001", 12)
    moved = next(project.images(label="label-0"))
    project.annotate(moved, add="label-1")
    second = project.publish("later", training_ratio=0.6)
    assert [version.name for version in project.dataset_versions()] == ["later", "V001"]
    assert moved.id in [row.model_dump()["image_id"] for row in first.compare(second)]
    lines = first.download_manifest(tmp_path / "V001.manifest").read_text().splitlines()
    assert len(lines) == 12
    project.dataset_version("V001").restore()
    assert moved.refresh().labels == ["label-0"]


@live
def test_a_call_without_a_method_of_its_own_can_be_made(client: Client) -> None:
    team = client.account().teams[0]
    assert [each.name for each in client.teams()] == [team.name]
    members = client.request("GET", f"/teams/{team.id}/members", limit=2)
    assert len(members["items"]) == 2
    assert client.usage(team).model_dump()["items"] == []


# --- Settings ---


def test_what_is_given_comes_before_the_environment_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(exeml.SettingsMissing, match="exeml login"):
        exeml.connect()
    path = settings.store("http://a.example/", "exeml_a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert settings.find(None, None) == ("http://a.example", "exeml_a")
    monkeypatch.setenv("EXEML_TOKEN", "exeml_b")
    assert settings.find(None, None) == ("http://a.example", "exeml_b")
    assert settings.find("http://b.example/api/v1/", "exeml_c") == ("http://b.example", "exeml_c")


def test_a_stored_token_goes_to_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.store("https://a.example", "exeml_a")
    monkeypatch.setenv("EXEML_URL", "https://b.example")
    with pytest.raises(exeml.SettingsMissing, match=r"b\.example"):
        exeml.connect()


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org", "file:///etc/passwd"])
def test_a_url_without_http_is_refused(url: str) -> None:
    with pytest.raises(exeml.SettingsMissing, match="http"):
        exeml.connect(url, "exeml_a")


# --- Pictures ---


def test_a_picture_may_be_a_path_bytes_an_image_or_an_array(tmp_path: Path) -> None:
    content = picture_bytes(5)
    path = tmp_path / "rose.png"
    path.write_bytes(content)
    assert encoded(path) == encoded(str(path)) == ("rose.png", content)
    assert encoded(content)[1] == content
    array = np.asarray(Pillow.open(path))
    for picture in (Pillow.open(path), array, array / 255):
        _, png = encoded(picture)
        written = tmp_path / "written.png"
        written.write_bytes(png)
        assert np.array_equal(np.asarray(Pillow.open(written)), array)


@pytest.mark.parametrize("shape", [(2,), (2, 2, 2), (1, 2, 2, 3)])
def test_an_array_that_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no picture"):
        encoded(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="between 0 and 1"):
        encoded(np.full((2, 2), 200.0))


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="no path"):
        encoded(3)  # type: ignore[arg-type]

"""The image that an address in a label file names."""

from __future__ import annotations

import time

import pytest

from projects.formats.manifest import Entry
from projects.models import Project
from projects.transfers.file_sources import SourceFile
from projects.transfers.path_mapping import ImageFinder, PathMapping, readable_name
from tests.factories import make_image, make_project
from tests.projects.formats.label_file_factories import case, entries_of

pytestmark = pytest.mark.django_db


def finder(*paths: str, project: Project | None = None) -> ImageFinder:
    files = [SourceFile(path, 1) for path in paths]
    return ImageFinder(project or make_project(labels=0), files, PathMapping())


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("s3://bucket/in/a.jpg", "a.jpg"),
        ("C:\\pictures\\a.jpg", "a.jpg"),
        ("./images/a.jpg", "images/a.jpg"),
        ("https://x.org/a.jpg?sig=abc&e=1", "a.jpg"),
        ("https://x.org/a.jpg#top", "a.jpg"),
        ("https://x.org/my%20pic.jpg", "my pic.jpg"),
        ("https://x.org/my%20pic.jpg?x=1", "my pic.jpg"),
        ("my%20pic.jpg", "my%20pic.jpg"),
        ("what?.jpg", "what?.jpg"),
        ("a#1.jpg", "a#1.jpg"),
        ("Cafe\u0301.jpg", "Café.jpg"),
        ("Café.jpg", "Cafe\u0301.jpg"),
        ("A.JPG", "a.jpg"),
        ("a.jpg", "A.JPG"),
        ("STRASSE.jpg", "straße.jpg"),
        ("a", "a.jpg"),
        ("img.001", "img.001.png"),
        ("a.png", "a.jpg"),
        ("/data/upload/1/3f2a1b4c-a.jpg", "a.jpg"),
        ("/data/upload/3f2a1b4c-My_pic.jpg", "my_pic.jpg"),
        ("/data/local-files/?d=images/a.jpg", "images/a.jpg"),
        ("http://localhost:8080/data/local-files/?d=images%2Fa.jpg", "images/a.jpg"),
    ],
)
def test_an_address_finds_its_file(source: str, path: str) -> None:
    assert finder(path, "other.jpg", "deep/other/b.jpg").find(source).path == path


def test_the_exact_name_comes_before_every_other_spelling() -> None:
    names = ["a.jpg", "A.JPG", "a.png", "my pic.jpg", "my%20pic.jpg", "é.jpg", "e\u0301.jpg"]
    found = finder(*names)
    assert [found.find(name).path for name in names] == names
    assert "Several images have this name (A.JPG, a.jpg)" in found.find("A.jpg").problem


@pytest.mark.parametrize("source", ["3f2a1b4c-a.jpg", "in/3f2a1b4c-a.jpg", "b.jpg", "", "/", "a.jpg.txt"])
def test_another_name_finds_nothing(source: str) -> None:
    match = finder("a.jpg", "a.txt").find(source)
    assert (match.path, match.image_id) == ("", None)
    assert "neither among the files nor in the project" in match.problem


def test_a_text_file_is_no_image_without_its_ending() -> None:
    assert finder("a.txt", "a.jpg").find("a").path == "a.jpg"


def test_of_equal_names_the_longest_common_end_decides() -> None:
    found = finder("train/cat/1.jpg", "train/dog/1.jpg", "1.jpg", "val/dog/1.jpg")
    assert found.find("s3://b/x/train/dog/1.jpg").path == "train/dog/1.jpg"
    assert found.find("cat/1.jpg").path == "train/cat/1.jpg"
    assert found.find("1.jpg").path == "1.jpg"
    assert found.find("TRAIN/CAT/1.JPG").path == "train/cat/1.jpg"
    match = found.find("dog/1.jpg")
    assert (match.path, match.shared) == ("", 0)
    assert "Several images have this name (train/dog/1.jpg, val/dog/1.jpg)" in match.problem


def test_images_of_the_project_are_found_by_name_and_content() -> None:
    project = make_project(labels=0)
    first, second = make_image(project, 1), make_image(project, 2)
    found = finder("else.jpg", project=project)
    assert found.find(f"s3://b/{first.name}").image_id == first.pk
    assert found.find(f"https://x.org/{second.name.upper()}?sig=x").image_id == second.pk
    assert found.find("unknown.png", sha256=second.sha256).image_id == second.pk
    assert found.find(f"{first.sha256}.png").image_id == first.pk


def test_looking_up_many_equal_names_takes_no_longer_than_others() -> None:
    """50,000 folders with the same file name in each, all of them named."""
    paths = [f"folder-{number}/image.jpg" for number in range(50_000)]
    found = finder(*paths)
    start = time.monotonic()
    assert [found.find(f"s3://b/{path}").path for path in paths] == paths
    assert time.monotonic() - start < 20


def test_a_name_in_an_address_is_readable() -> None:
    assert readable_name("https://x.org/my%20pic.jpg?sig=1") == "my pic.jpg"
    assert readable_name("s3://b/a%2Fb.jpg") == "b.jpg"
    assert readable_name("in/100%25.jpg") == "100%25.jpg"


# --- the cases from the field ---


@pytest.mark.parametrize(
    "name",
    [
        *(
            "fname_target.csv",
            "kaggle_image_id.csv",
            "labelstudio.csv",
            "labelstudio.json",
            "no_extension.csv",
        ),
        *("modelarts_array.manifest", "other_case.csv", "query.csv", "vertex.jsonl"),
    ],
)
def test_label_files_of_peers_name_the_images(name: str) -> None:
    assert matched(entries_of(name, case("peer-label-files", name))) == {"a.jpg": ["cat"], "b.jpg": ["dog"]}


def test_numbers_of_modelarts_are_labels() -> None:
    entries = entries_of("a.manifest", case("peer-label-files", "modelarts_number.manifest"))
    assert matched(entries) == {"a.jpg": ["0"], "b.jpg": ["1"]}


def matched(entries: list[Entry]) -> dict[str, list[str]]:
    found = finder("a.jpg", "b.jpg")
    return {found.find(entry.source).path: list(entry.labels) for entry in entries}

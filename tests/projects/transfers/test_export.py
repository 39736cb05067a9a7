"""Exports: each format contains the project's images and labels, and importing one restores them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from projects.labels import actions
from projects.models import Annotation, Project
from tests.factories import make_project, make_user, picture_bytes
from tests.projects.transfers.import_factories import imported, labels_by_name, zipped

pytestmark = pytest.mark.django_db


def filled(**options: Any) -> Project:
    """A project with labels by two people, splits, a hard example, equal names and an unlabeled image."""
    project = make_project(labels=0, **options)
    files = {f"a/{seed}.png": picture_bytes(seed) for seed in range(4)} | {"b/0.png": picture_bytes(9)}
    imported(project, {"a.zip": zipped(files)}, labels_from="nothing")
    images = list(project.images.order_by("pk"))
    actions.apply(project, [images[0].pk, images[4].pk], add=["roses"], by=make_user("bob"))
    actions.apply(project, [images[1].pk], add=["tulips"], by=make_user("alice"))
    project.images.filter(pk=images[0].pk).update(split="EVAL", is_hard=True)
    project.images.filter(pk=images[1].pk).update(split="TRAIN")
    roses = project.labels.get(name="roses")
    actions.edit_label(roses, make_user("bob"), colour=7, hot_key="r")
    actions.ensure_labels(project, ["unused"])
    return project


def contents_of(project: Project) -> list[Any]:
    """Everything that an import must restore."""
    images = project.images.filter(deleted_at=None).order_by("sha256")
    labels = list(project.labels.values_list("name", "colour", "hot_key"))
    rows = list(images.values_list("sha256", "name", "split", "is_hard", "is_labeled", "width", "height"))
    marks = Annotation.objects.filter(image__project=project).order_by("image__sha256", "label__name")
    given = [
        (sha, label, at.replace(microsecond=0))
        for sha, label, at in marks.values_list("image__sha256", "label__name", "at")
    ]
    return [labels, rows, given]


def exported(client: Client, project: Project, query: str) -> bytes:
    answer = client.get(f"{reverse('export', args=[project.pk])}?{query}")
    assert answer.status_code == 200
    content = answer.getvalue()
    assert "Content-Length" not in answer or int(answer["Content-Length"]) == len(content)
    return content


def members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_importing_an_export_gives_the_same_project(vera: Client, is_multi_label: bool) -> None:
    project = filled(is_multi_label=is_multi_label)
    if is_multi_label:
        first = project.images.order_by("pk").first()
        actions.apply(project, [first.pk], add=["tulips"], by=make_user("bob"))
    archive = exported(vera, project, "format=archive")

    again = make_project("again", labels=0, is_multi_label=is_multi_label)
    done = imported(again, {"flowers.zip": archive})

    assert done.status == "Completed", done.problem
    assert not done.rejected_files.exists()
    assert contents_of(again) == contents_of(project)


@pytest.mark.parametrize("format", ["folders", "texts"])
def test_other_archives_give_the_same_images_and_labels_again(vera: Client, format: str) -> None:
    project = filled(is_multi_label=format == "texts")
    again = make_project("again", labels=0, is_multi_label=format == "texts")
    imported(again, {"flowers.zip": exported(vera, project, f"format={format}")})
    by_picture = [
        {
            image.sha256: sorted(annotation.label.name for annotation in image.annotations.all())
            for image in copy.images.all()
        }
        for copy in (project, again)
    ]
    assert by_picture[0] == by_picture[1]


def test_a_table_labels_the_images_of_another_project(vera: Client) -> None:
    project = filled()
    table = exported(vera, project, "format=table")
    assert table.splitlines()[0].startswith(b"image,labels,set")
    again = make_project("again", labels=0)
    pictures = members(exported(vera, project, "format=archive"))
    images = {name: content for name, content in pictures.items() if name.startswith("images/")}
    imported(again, {"images.zip": zipped(images), "labels.csv": table})
    given = [
        set(Annotation.objects.filter(image__project=copy).values_list("image__sha256", "label__name"))
        for copy in (project, again)
    ]
    assert given[0] == given[1] and len(given[0]) == 3


def test_folders_hold_each_image_under_its_label(vera: Client) -> None:
    project = filled()
    found = members(exported(vera, project, "format=folders"))
    last = project.images.order_by("pk").last()
    assert set(found) == {"roses/0.png", f"roses/0-{last.pk}.png", "tulips/1.png", "2.png", "3.png"}
    assert found["tulips/1.png"] == picture_bytes(1)


def test_text_files_hold_a_label_in_each_line(vera: Client) -> None:
    project = filled()
    found = members(exported(vera, project, "format=texts"))
    assert (found["0.txt"], found["1.txt"]) == (b"roses\n", b"tulips\n")
    assert "2.txt" not in found and "2.png" in found


def test_the_manifest_is_what_modelarts_writes(vera: Client) -> None:
    lines = exported(vera, filled(), "format=manifest").splitlines()
    first = json.loads(lines[0])
    assert first["source"] == "images/0.png"
    assert (first["usage"], first["hard"]) == ("EVAL", "true")
    assert first["annotation"][0]["type"] == "modelarts/image_classification"
    assert first["annotation"][0]["annotated-by"] == "human/bob"
    assert "annotation" not in json.loads(lines[2])


def test_an_export_holds_what_the_filter_shows_and_nothing_of_the_bin(vera: Client) -> None:
    project = filled()
    roses = project.labels.get(name="roses")
    assert len(exported(vera, project, f"format=manifest&tab=labeled&label={roses.pk}").splitlines()) == 2
    actions.delete_images(project, [project.images.order_by("pk").first().pk], make_user("bob"))
    assert len(exported(vera, project, "format=manifest").splitlines()) == 4
    assert len(exported(vera, project, "format=manifest&tab=bin").splitlines()) == 4


@pytest.mark.parametrize("label", ["..", ".hidden", "a:b", "con*"])
def test_no_label_leads_out_of_the_folder_or_hides(vera: Client, label: str) -> None:
    project = make_project(labels=0)
    imported(project, {"a.zip": zipped({"1.png": picture_bytes(1)})})
    actions.apply(project, [project.images.get().pk], add=[label], by=make_user("bob"))
    [name] = members(exported(vera, project, "format=folders"))
    folder = name.partition("/")[0]
    assert not folder.startswith(".") and not set(folder) & set('<>:"|?*')


@pytest.mark.parametrize(
    "labels",
    [
        ["a:b", "a_b", "a?b", "a_b."],
        ["100%", "100%25", "%41", "A", "a%3Ab"],
        [".hidden", "..", "~x", "con", "nul.x", "LPT1"],
        ["train", "test", "Thumbs.db", "__MACOSX"],
        ["images", "Test images 2", "data set", "unlabeled", "trainer"],
        ["seg_train", "seg_test", "训练集", "01 train", "test_positive", "nan"],
        ["Café", "猫", "'=x", "-5", "x y"],
    ],
)
def test_every_label_has_its_own_folder_and_comes_back(vera: Client, labels: list[str]) -> None:
    project = make_project(labels=0)
    files = {f"{seed}.png": picture_bytes(seed) for seed in range(len(labels))}
    imported(project, {"a.zip": zipped(files)}, labels_from="nothing")
    for image, label in zip(project.images.order_by("name"), labels, strict=True):
        actions.apply(project, [image.pk], add=[label], by=make_user("bob"))

    archive = exported(vera, project, "format=folders")
    folders = {name.partition("/")[0].casefold() for name in members(archive)}
    assert len(folders) == len(labels)
    assert not any(set(folder) & set('<>:"|?*') or folder[-1] in ". " for folder in folders)
    again = make_project("again", labels=0)
    imported(again, {"a.zip": archive}, labels_from="folders")
    assert labels_by_name(again) == {f"{seed}.png": [label] for seed, label in enumerate(labels)}


def test_a_table_runs_no_formula_in_a_spreadsheet_and_comes_back(vera: Client) -> None:
    project = make_project(labels=0, is_multi_label=True)
    imported(project, {"a.zip": zipped({"1.png": picture_bytes(1), "2.png": picture_bytes(2)})})
    first, second = project.images.order_by("name")
    labels = ["=HYPERLINK(1)", "@x", "'=y", "nan"]
    actions.apply(project, [first.pk], add=labels, by=make_user("bob"))
    actions.apply(project, [second.pk], add=["+1"], by=make_user("@bob"))

    table = exported(vera, project, "format=table")
    cells = [cell for row in csv.reader(io.StringIO(table.decode())) for cell in row]
    assert not any(part[:1] in tuple("=+-@\t\r") and part for cell in cells for part in cell.split(";"))
    again = make_project("again", labels=0, is_multi_label=True)
    imported(again, {"a.zip": exported(vera, project, "format=archive")}, labels_from="nothing")
    imported(again, {"labels.csv": table})
    assert labels_by_name(again) == labels_by_name(project) == {"1.png": sorted(labels), "2.png": ["+1"]}


def test_a_format_that_does_not_exist_is_refused(vera: Client) -> None:
    project = make_project()
    answer = vera.get(f"{reverse('export', args=[project.pk])}?format=tar")
    assert answer.status_code == 422
    assert b"Choose one of the formats" in answer.content


def test_an_empty_project_gives_an_empty_archive(vera: Client) -> None:
    found = members(exported(vera, make_project(labels=0), "format=archive"))
    assert found == {"flowers.manifest": b"", "labels.csv": b"label,colour,key\n"}

"""Metadata of images from tables, manifests, folders and photos; exports restore it, undo removes it."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
from django.test import Client
from PIL import ExifTags, Image

from projects.formats.columns import Columns, find_columns
from projects.images.decode import decode_image
from projects.images.upload import add_images
from projects.labels import actions, metadata
from projects.models import LabelEvent, MetadataColumn, Project
from tests.factories import make_project, make_user, picture_bytes
from tests.projects.transfers.import_factories import imported, labels_by_name, reasons, sample, zipped
from tests.projects.transfers.test_export import exported
from tests.projects.views.test_import_review import page_of, review, run, sent

pytestmark = pytest.mark.django_db
SIGNS = Path(__file__).resolve().parents[4] / "shared" / "data" / "sign-digits"


def values_by_name(project: Project) -> dict[str, dict[str, str]]:
    values = metadata.load_values(project.images.values_list("pk", flat=True))
    return {image.name: values.get(image.pk, {}) for image in project.images.all()}


def pictures(*names: str) -> dict[str, bytes]:
    return {name: picture_bytes(seed) for seed, name in enumerate(names)}


# --- tables ---


@pytest.mark.parametrize(
    ("head", "row", "labels", "kept"),
    [
        ("path,group", "a.jpg,p1", (), (1,)),
        ("path,person", "a.jpg,anna", (), (1,)),
        ("image,Patient ID,label", "a.jpg,7,cat", (2,), (1,)),
        ("image,label,camera_name,width,sha256", "a.jpg,cat,X100,640,ab", (1,), (2,)),
        ("image,label,weather,score", "a.jpg,cat,fog,0.93", (1,), (2,)),
        ("image,label,latitude,caption", "a.jpg,cat,47.2,a cat", (1,), ()),
        ("path,metadata:weather", "a.jpg,fog", (), (1,)),
        ("image,colour", "a.jpg,red", (1,), ()),
    ],
)
def test_columns_that_describe_images_are_found(
    head: str, row: str, labels: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    rows = [head.split(","), row.split(","), row.replace("a.jpg", "b.jpg").split(",")]
    found = find_columns(rows)
    assert found.columns == Columns(0, labels, None, kept) and found.is_certain


def test_words_that_differ_in_every_row_are_no_metadata() -> None:
    rows = [["image", "label", "remark"], *([f"{n}.jpg", "cat", f"seen {n}"] for n in range(20))]
    assert find_columns(rows).columns.metadata == ()


def test_a_table_beside_folders_per_class_gives_the_person_and_not_the_label() -> None:
    project = make_project(labels=0)
    table = "path,person\n0/a.png,anna\n1/b.png,anna\n1/c.png,ben\n"
    files = {**pictures("0/a.png", "1/b.png", "1/c.png", "0/d.png"), "groups.csv": table}
    done = imported(project, {"signs.zip": zipped(files)})
    assert (done.status, reasons(done)) == ("Completed", {})
    assert labels_by_name(project) == {"a.png": ["0"], "b.png": ["1"], "c.png": ["1"], "d.png": ["0"]}
    assert values_by_name(project) == {
        "a.png": {"person": "anna"},
        "b.png": {"person": "anna"},
        "c.png": {"person": "ben"},
        "d.png": {},
    }


@pytest.mark.skipif(not SIGNS.is_dir(), reason="the data sets do not lie beside this checkout")
def test_the_hand_signs_are_imported_with_persons_and_splits() -> None:
    """Real files: two classes of the data set with its own tables."""
    project = make_project(labels=0)
    files: dict[str, bytes | str] = {
        f"{digit}/{file.name}": file.read_bytes()
        for digit in "01"
        for file in sorted((SIGNS / digit).iterdir())[:12]
    }
    files |= {name: (SIGNS / name).read_text() for name in ("groups.csv", "split.csv")}
    imported(project, {"signs.zip": zipped(files)})
    persons = {row["path"]: row["group"] for row in csv.DictReader(io.StringIO(str(files["groups.csv"])))}
    values = values_by_name(project)
    for path in files.keys() - {"groups.csv", "split.csv"}:
        folder, name = path.split("/")
        assert values[name]["group"] == persons[path]
        assert labels_by_name(project)[name] == [folder]
    assert set(project.images.values_list("split", flat=True)) <= {"TRAIN", "TEST"}


def test_a_table_about_images_of_the_project_sets_metadata_alone_and_undo_removes_it() -> None:
    project = make_project(labels=1, images=3)
    table = "image,lot\npicture-0.png,A\npicture-1.png,B\n"
    done = imported(project, {"lots.csv": table.encode()})
    assert done.status == "Completed"
    assert values_by_name(project)["picture-1.png"] == {"lot": "B"}
    assert actions.undo(LabelEvent.objects.get(), make_user("bob")).restored == 2
    assert not MetadataColumn.objects.exists()


def test_undo_of_an_import_takes_labels_and_metadata_back() -> None:
    project = make_project(labels=0)
    table = "image,label,camera\na.png,cat,X\nb.png,dog,Y\n"
    imported(project, {"a.zip": zipped({**pictures("a.png", "b.png"), "t.csv": table})})
    assert values_by_name(project) == {"a.png": {"camera": "X"}, "b.png": {"camera": "Y"}}
    undone = actions.undo(LabelEvent.objects.get(), make_user("bob"))
    assert (undone.restored, labels_by_name(project)) == (2, {"a.png": [], "b.png": []})
    assert not MetadataColumn.objects.exists()
    actions.redo(undone.event, make_user("bob"))
    assert values_by_name(project) == {"a.png": {"camera": "X"}, "b.png": {"camera": "Y"}}


def test_a_value_that_is_too_long_leaves_the_image_and_its_label() -> None:
    project = make_project(labels=0)
    table = f"image,label,lot\na.png,cat,{'x' * 201}\nb.png,dog,1\n"
    done = imported(project, {"a.zip": zipped({**pictures("a.png", "b.png"), "t.csv": table})})
    assert labels_by_name(project) == {"a.png": ["cat"], "b.png": ["dog"]}
    assert reasons(done) == {
        "a.png": "Its metadata was left out. "
        "A value can have 200 characters; “xxxxxxxxxxxxxxxxxxxx…” has 201."
    }


def test_columns_beyond_the_limit_are_left_out_and_named_first(bob: Client) -> None:
    project = make_project(labels=0)
    names = [f"c{n}" for n in range(22)]
    table = f"image,label,{','.join(names)}\na.png,cat,{','.join('x' * 22)}\nb.png,dog,{','.join('x' * 22)}\n"
    waiting = sent(bob, project, {**pictures("a.png", "b.png"), "t.csv": table})
    assert waiting.status == "Review"
    assert "A project can have 20 columns of metadata. Left out: “c20”, “c21”." in page_of(bob, waiting)
    review(bob, waiting)
    assert run(waiting).status == "Completed"
    assert MetadataColumn.objects.count() == 20


def test_the_columns_to_keep_can_be_chosen_before_the_import(bob: Client) -> None:
    project = make_project(labels=0)
    table = "image,label,camera,weather\n0.png,cat,X,fog\n1.png,dog,Y,fog\nmissing.png,cat,Y,sun\n"
    waiting = sent(bob, project, {**pictures("0.png", "1.png"), "t.csv": table})
    page = page_of(bob, waiting)
    assert "camera (2 images)" in page and "weather (2 images)" in page
    fields = {"file-0-is_used": "on", "file-0-image": 0, "file-0-labels": [1], "file-0-metadata": [3]}
    review(bob, waiting, **fields)
    run(waiting)
    assert values_by_name(project) == {"0.png": {"weather": "fog"}, "1.png": {"weather": "fog"}}


# --- folders ---


def test_folders_above_the_labels_are_asked_about_and_become_a_column(bob: Client) -> None:
    project = make_project(labels=0)
    files = pictures("p1/cat/a.png", "p1/dog/b.png", "p2/cat/c.png", "p2/dog/d.png")
    waiting = sent(bob, project, files)
    assert (waiting.status, project.images.count()) == ("Review", 0)
    assert "The folders “p1”, “p2” are not labels." in page_of(bob, waiting)
    assert review(bob, waiting, **{"level-0": "a:b"}).status_code == 422
    review(bob, waiting, **{"level-0": " patient "})
    assert run(waiting).status == "Completed"
    assert values_by_name(project)["d.png"] == {"patient": "p2"}
    assert labels_by_name(project)["d.png"] == ["dog"]


def test_splits_and_folders_around_all_are_no_columns(bob: Client) -> None:
    project = make_project(labels=0)
    done = sent(bob, project, pictures("set/train/cat/a.png", "set/val/dog/b.png", "set/train/dog/c.png"))
    assert done.status == "Completed" and not MetadataColumn.objects.exists()


# --- manifests and exports ---


def test_a_manifest_gives_metadata_of_its_property() -> None:
    project = make_project(labels=0)
    lines = sample("a.png", "cat", property={"exeml:metadata": {"person": "anna", "age": 7, "x": None}})
    lines += sample("b.png", "dog", property={"other": "1"})
    imported(project, {"a.zip": zipped({**pictures("a.png", "b.png"), "a.manifest": lines})})
    assert values_by_name(project) == {"a.png": {"person": "anna", "age": "7"}, "b.png": {}}


@pytest.mark.parametrize("format", ["archive", "folders", "texts", "manifest", "table"])
def test_an_export_holds_the_metadata_and_an_import_restores_it(format: str, bob: Client) -> None:
    project = make_project(labels=2, images=12, with_files=True)
    images = list(project.images.order_by("pk").values_list("pk", flat=True))
    for number, image in enumerate(images):
        metadata.set_values(project, [image], {"weather": f"w{number}", "lot": "=1"}, None)
    metadata.set_values(project, images[:1], {"lot": ""}, None)
    content = exported(bob, project, f"format={format}")
    copy = make_project("copy", labels=0)
    plain = {
        f"pictures/{image.name}": picture_bytes(n) for n, image in enumerate(project.images.order_by("pk"))
    }
    if format in ("manifest", "table"):
        name = f"all.{'csv' if format == 'table' else 'manifest'}"
        imported(copy, {"a.zip": zipped({**plain, name: content})})
    else:
        imported(copy, {"a.zip": content})
    assert values_by_name(copy) == values_by_name(project)
    assert labels_by_name(copy) == labels_by_name(project)


def test_an_export_without_metadata_is_as_before(bob: Client) -> None:
    project = make_project(labels=1, images=2, with_files=True)
    names = zipfile.ZipFile(io.BytesIO(exported(bob, project, "format=folders"))).namelist()
    assert sorted(names) == ["label-0/picture-0.png", "label-0/picture-1.png"]


# --- photos ---


def photo(seed: int, **tags: str) -> bytes:
    """A photo with EXIF, a place among it."""
    exif = Image.Exif()
    for name, value in tags.items():
        if name == "DateTimeOriginal":
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
        else:
            exif[ExifTags.Base[name]] = value
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (47.0, 22.0, 0.0)
    out = io.BytesIO()
    Image.open(io.BytesIO(picture_bytes(seed))).save(out, "JPEG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (
            {"Make": "NIKON CORPORATION", "Model": "D90\0", "DateTimeOriginal": "2024:05:17 10:00:00"},
            {"camera": "NIKON CORPORATION D90", "date taken": "2024-05-17"},
        ),
        ({"Make": "Canon", "Model": "Canon EOS 5D"}, {"camera": "Canon EOS 5D"}),
        ({"DateTime": "0000:00:00 00:00:00"}, {}),
        ({"DateTime": "2020:02:03 04:05:06"}, {"date taken": "2020-02-03"}),
        ({}, {}),
    ],
)
def test_camera_and_day_are_read_and_the_place_is_not(tags: dict[str, str], expected: dict[str, str]) -> None:
    assert decode_image(photo(1, **tags)).exif == expected


def test_an_upload_sets_camera_and_day_of_new_images_alone() -> None:
    project = make_project(labels=0)
    file = io.BytesIO(photo(1, Make="Canon", Model="R5"))
    file.name = "a.jpg"
    (first,) = add_images(project, [file], make_user("bob"))
    assert values_by_name(project) == {"a.jpg": {"camera": "Canon R5"}}
    metadata.set_values(project, [first.image.pk], {"camera": "left"}, make_user("bob"))
    add_images(project, [file], make_user("bob"))
    assert values_by_name(project) == {"a.jpg": {"camera": "left"}}


def test_a_table_knows_the_camera_better_than_the_photo() -> None:
    project = make_project(labels=0)
    photos = {f"{n}.jpg": photo(n, Make="Canon", Model="R5", DateTime="2020:02:03 04:05:06") for n in (1, 2)}
    table = "image,label,Camera\n1.jpg,cat,left\n2.jpg,dog,\n"
    imported(project, {"a.zip": zipped({**photos, "t.csv": table})})
    assert values_by_name(project) == {
        "1.jpg": {"camera": "left", "date taken": "2020-02-03"},
        "2.jpg": {"camera": "Canon R5", "date taken": "2020-02-03"},
    }


def test_photos_of_a_project_without_room_for_columns_are_added_all_the_same() -> None:
    project = make_project(labels=1, images=1)
    metadata.set_values(project, [project.images.get().pk], {f"c{n}": "x" for n in range(20)}, None)
    file = io.BytesIO(photo(9, Make="Canon", Model="R5"))
    file.name = "a.jpg"
    assert add_images(project, [file], make_user("bob"))[0].status == "added"
    assert MetadataColumn.objects.count() == 20

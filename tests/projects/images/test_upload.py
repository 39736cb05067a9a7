"""Uploads become images (file and row), or are rejected with a sentence."""

from __future__ import annotations

import hashlib
import io
import threading

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from PIL import Image as Pillow

from projects.images.upload import Outcome, add_images
from projects.labels import actions
from projects.models import Image, LabelEvent
from tests.factories import make_image, make_project, make_user, picture_bytes
from tests.pictures import case, several_pictures

pytestmark = pytest.mark.django_db


def file(name: str, content: bytes) -> ContentFile:
    return ContentFile(content, name)


def add(project: object, *files: ContentFile) -> list[Outcome]:
    return add_images(project, files, make_user("bob"))


def test_an_upload_becomes_a_file_and_a_row() -> None:
    project = make_project(labels=0)
    content = picture_bytes(1, (40, 30))

    [outcome] = add(project, file("garden/rose.PNG", content))

    image = Image.objects.get()
    assert (outcome.status, outcome.name, outcome.image, outcome.reason) == ("added", "rose.PNG", image, "")
    assert (image.name, image.format, image.width, image.height) == ("rose.PNG", "PNG", 40, 30)
    assert (image.size_bytes, image.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (image.uploaded_by, image.is_labeled, image.split) == (make_user("bob"), False, "")
    assert default_storage.open(image.file_name).read() == content
    assert not default_storage.exists(image.thumbnail_name)  # made when it is first asked for


def test_width_and_height_are_those_of_the_upright_picture() -> None:
    tags = Pillow.Exif()
    tags[0x0112] = 6
    out = io.BytesIO()
    Pillow.new("RGB", (80, 50)).save(out, "JPEG", exif=tags)

    [outcome] = add(make_project(labels=0), file("phone.jpg", out.getvalue()))

    assert outcome.image and (outcome.image.width, outcome.image.height) == (50, 80)
    assert default_storage.open(outcome.image.file_name).read() == out.getvalue()  # stored unchanged


def test_a_refused_file_stops_no_other_and_leaves_nothing_behind() -> None:
    project = make_project(labels=0)
    broken = picture_bytes(2, (300, 200), "JPEG")[:-20]

    outcomes = add(
        project,
        file("good.png", picture_bytes(1)),
        file("empty.jpg", b""),
        file("layers.jpg", b"8BPS\0\1"),
        file("page.png", b"<html>not found</html>"),
        file("broken.jpg", broken),
        file("also-good.jpg", picture_bytes(3, format="JPEG")),
    )

    assert [outcome.status for outcome in outcomes] == [
        "added",
        "refused",
        "refused",
        "refused",
        "refused",
        "added",
    ]
    assert outcomes[1].reason == "The file is empty."
    assert "a Photoshop file" in outcomes[2].reason and "a web page" in outcomes[3].reason
    assert "damaged, incomplete or" in outcomes[4].reason
    assert sorted(Image.objects.values_list("name", flat=True)) == ["also-good.jpg", "good.png"]
    sha256 = hashlib.sha256(broken).hexdigest()
    assert not default_storage.exists(f"images/{project.pk}/{sha256[:2]}/{sha256}.jpeg")


@pytest.mark.parametrize("name", ["phone.heic", "scan.tif"])
def test_a_file_of_several_pictures_is_added_with_a_note(name: str) -> None:
    content = several_pictures("HEIF" if name.endswith("heic") else "TIFF", 3)

    [outcome] = add(make_project(labels=0), file(name, content))

    assert (outcome.status, outcome.reason) == ("added", "Only the first of its 3 pictures is used.")
    assert outcome.image and (outcome.image.width, outcome.image.height) == (90, 60)


def test_a_raw_file_is_told_by_its_name() -> None:
    [outcome] = add(make_project(labels=0), file("d.nef", case("wrong-reason/d.nef")))
    assert outcome.reason.startswith("This is a camera raw file. Use JPEG, PNG")


def test_the_size_limit_is_the_operators(settings: object) -> None:
    settings.EXEML_MAX_IMAGE_MB = 1
    fits = picture_bytes(1)
    fits += bytes(1024 * 1024 - len(fits))  # trailing bytes after the end of a PNG are harmless

    outcomes = add(make_project(labels=0), file("fits.png", fits), file("large.png", fits + b"x"))

    assert [outcome.status for outcome in outcomes] == ["added", "refused"]
    assert outcomes[1].reason == "The file is larger than 1 MB."


def test_an_exact_duplicate_is_named_and_skipped() -> None:
    project = make_project(labels=0)
    add(project, file("first.png", picture_bytes(1)))

    outcomes = add(project, file("second.png", picture_bytes(1)), file("third.png", picture_bytes(1)))

    assert [outcome.status for outcome in outcomes] == ["duplicate", "duplicate"]
    assert outcomes[0].reason == "Skipped: the same picture as ‘first.png’."
    assert Image.objects.count() == 1


def test_the_same_picture_may_be_in_two_projects() -> None:
    for name in ("one", "two"):
        [outcome] = add(make_project(name, labels=0), file("x.png", picture_bytes(1)))
        assert outcome.status == "added"


def test_uploading_a_binned_picture_again_restores_it_with_its_labels() -> None:
    project = make_project(labels=1, images=1)
    image = Image.objects.get()
    content = picture_bytes(0)
    actions.delete_images(project, [image.pk], make_user("alice"))

    [outcome] = add(project, file("again.png", content))

    image.refresh_from_db()
    assert (outcome.status, outcome.reason) == ("restored", "Restored from the bin with its labels.")
    assert image.deleted_at is None and image.is_labeled and image.annotations.count() == 1
    assert LabelEvent.objects.first().kind == LabelEvent.Kind.RESTORE_IMAGES


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("C:\\photos\\rose.jpg", "rose.jpg"),
        ("a/b/c.png", "c.png"),
        ("new\nline\x00.png", "newline.png"),
        ("Blüte 花 1.png", "Blüte 花 1.png"),
        ("x" * 300 + ".png", "x" * 255),
        ("", "unnamed"),
        ("   ", "unnamed"),
    ],
)
def test_file_names_are_kept_without_folders_and_control_characters(given: str, kept: str) -> None:
    [outcome] = add(make_project(labels=0), file(given, picture_bytes(1)))
    assert outcome.image and outcome.image.name == kept


def test_a_row_that_appears_between_look_up_and_insert_makes_a_duplicate(monkeypatch: object) -> None:
    """Another upload inserts the picture after the first query; the second query finds it."""
    from projects.images import upload as image_upload

    project = make_project(labels=0)
    insert = image_upload.insert_images

    def late_insert(*arguments: object, **more: object) -> object:
        make_image(project, 1)
        return insert(*arguments, **more)

    monkeypatch.setattr(image_upload, "insert_images", late_insert)
    [outcome] = add(project, file("late.png", picture_bytes(1)))

    assert outcome.status == "duplicate" and "picture-1.png" in outcome.reason
    assert Image.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_uploads_of_one_file_at_once_make_one_row() -> None:
    project = make_project(labels=0)
    content = picture_bytes(7, (1200, 900))
    start = threading.Barrier(4)
    outcomes: list[Outcome] = []

    def upload() -> None:
        start.wait()
        outcomes.extend(add_images(project, [file("same.png", content)], None))
        connection.close()

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcome.status for outcome in outcomes) == ["added", "duplicate", "duplicate", "duplicate"]
    assert Image.objects.count() == 1

"""The enlarged picture is the normalized one, for every kind of file: what browsers get is compared."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from PIL import Image as Pillow
from PIL import ImageOps

from exeml_site.lib import storage
from projects.images import bin
from projects.images.decode import load_normalized, open_header
from projects.images.rendition import is_shown_alike, shown_file
from projects.images.thumbnail import thumbnail_of
from projects.images.upload import add_images
from projects.models import Image
from tests.factories import make_project, make_user
from tests.pictures import KINDS, case, exif, gradient, png_chunk, saved, swapped_profile

pytestmark = pytest.mark.django_db

# Kinds that every browser shows as they are; the others need a rendition.
SHOWN_ALIKE = {
    "plain JPEG",
    "progressive JPEG",
    "grey JPEG",
    *(f"JPEG turned {number}" for number in range(1, 9)),
    "palette PNG",
    "bilevel PNG",
    "BMP",
    "grey BMP",
    "WebP",
    "MPO",
}


def enlarged(content: bytes, name: str = "picture") -> tuple[bytes, str]:
    """The enlarged picture's file and content type, after an upload."""
    project = make_project(labels=0)
    [outcome] = add_images(project, [ContentFile(content, name)], make_user("alice"))
    assert outcome.image is not None, outcome.reason
    client = Client()
    client.force_login(make_user("alice"))
    answer = client.get(reverse("image_file", args=[project.pk, outcome.image.pk]))
    assert answer.status_code == 200
    return b"".join(answer.streaming_content), answer.headers["Content-Type"]


def as_browsers_show(content: bytes) -> np.ndarray:
    """Browsers turn a JPEG by its EXIF orientation, and ignore XMP."""
    picture = Pillow.open(io.BytesIO(content))
    return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), int)


@pytest.mark.parametrize("name", KINDS)
def test_the_enlarged_picture_is_the_normalized_one(name: str) -> None:
    content, content_type = enlarged(KINDS[name])

    shown, normalized = as_browsers_show(content), np.asarray(load_normalized(KINDS[name]), int)
    assert shown.shape == normalized.shape
    if name in SHOWN_ALIKE:
        assert content == KINDS[name] and np.array_equal(shown, normalized)
    else:
        assert content_type == "image/jpeg" and np.abs(shown - normalized).mean() < 3


@pytest.mark.parametrize("name", ["exif6.webp", "icc_p3.jpg", "icc_swapped.jpg"])
def test_thumbnail_and_enlarged_picture_are_the_same(name: str) -> None:
    content, _ = enlarged(case(f"thumbnail-differs-from-enlarged/{name}"), name)
    thumbnail = Pillow.open(io.BytesIO(thumbnail_of(Image.objects.get()))).convert("RGB")
    shown = Pillow.fromarray(as_browsers_show(content).astype(np.uint8))
    assert (
        shown.size == thumbnail.size == load_normalized(case(f"thumbnail-differs-from-enlarged/{name}")).size
    )
    assert np.abs(np.asarray(shown, int) - np.asarray(thumbnail, int)).mean() < 6


def test_a_rendition_keeps_neither_place_nor_profile() -> None:
    tags = exif(6)
    tags.get_ifd(0x8825)[1] = "N"
    content, _ = enlarged(saved(gradient(), "WEBP", exif=tags, icc_profile=swapped_profile()))
    assert not {"exif", "icc_profile", "xmp"} & Pillow.open(io.BytesIO(content)).info.keys()


def test_the_original_file_is_kept_and_the_rendition_goes_with_it() -> None:
    enlarged(KINDS["HEIC"])
    image = Image.objects.get()
    assert default_storage.open(image.file_name).read() == KINDS["HEIC"]
    assert default_storage.exists(image.rendition_name)

    Image.objects.update(deleted_at="2020-01-01T00:00Z")
    assert bin.empty_bins() == 1
    assert not default_storage.exists(image.rendition_name) and not default_storage.exists(image.file_name)


@pytest.mark.parametrize(
    ("options", "is_alike"),
    [
        ({}, True),
        ({"gamma": 45455}, True),
        ({"gamma": 100000}, False),
    ],
)
def test_a_png_with_an_unusual_gamma_needs_a_rendition(options: dict[str, int], is_alike: bool) -> None:
    content = saved(gradient(), "PNG")
    gamma = png_chunk(b"gAMA", options["gamma"].to_bytes(4, "big")) if options else b""
    assert is_shown_alike(open_header(content[:33] + gamma + content[33:])) is is_alike


def test_a_picture_above_a_lowered_limit_is_still_shown(settings: object) -> None:
    content, _ = enlarged(KINDS["PNG with a profile"])
    image = Image.objects.get()
    default_storage.delete(image.rendition_name)
    settings.EXEML_MAX_IMAGE_MEGAPIXELS = 0.001
    client = Client()
    client.force_login(make_user("alice"))
    answer = client.get(reverse("image_file", args=[image.project_id, image.pk]))
    assert b"".join(answer.streaming_content) == KINDS["PNG with a profile"] != content


def test_without_room_for_a_rendition_the_original_is_shown() -> None:
    project = make_project(labels=0)
    [outcome] = add_images(project, [ContentFile(KINDS["HEIC"], "a.heic")], make_user("alice"))
    assert outcome.image is not None
    folder = Path(default_storage.path(outcome.image.rendition_name)).parents[1]
    storage.delete_folder(f"renditions/{project.pk}")  # keys are given again after a rollback
    folder.parent.mkdir(exist_ok=True)
    folder.write_bytes(b"a file where the folder should be")
    assert shown_file(outcome.image).name == outcome.image.file_name
    folder.unlink()
    assert shown_file(outcome.image).name == outcome.image.rendition_name

"""A thumbnail is made once, when it is first needed, and goes with its image."""

from __future__ import annotations

import io
import threading

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from PIL import Image as Pillow

from exeml_site.lib import storage
from projects.images.thumbnail import (
    forget_deleted,
    make_thumbnail,
    store_thumbnail,
    stored_thumbnail,
    thumbnail_of,
    thumbnails_of,
)
from projects.images.upload import add_images
from projects.models import Image
from tests.factories import make_project
from tests.pictures import gradient, saved

pytestmark = pytest.mark.django_db


def new_image(width: int = 700) -> Image:
    content = saved(gradient(size=(width, 500)), "JPEG")
    [outcome] = add_images(make_project(f"{width} pixels", labels=0), [ContentFile(content, "new.jpg")], None)
    assert outcome.image
    return outcome.image


def test_it_is_made_once_and_kept() -> None:
    image = new_image()
    assert stored_thumbnail(image) == b""
    content = thumbnail_of(image)
    assert Pillow.open(io.BytesIO(content)).size == (256, 183)
    default_storage.delete(image.file_name)
    assert thumbnail_of(image) == content == stored_thumbnail(image)


def test_several_that_ask_at_once_get_the_same() -> None:
    image, found = new_image(701), list[bytes]()
    start = threading.Barrier(6)

    def ask() -> None:
        start.wait()
        found.append(store_thumbnail(image).content)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and set(found) == {stored_thumbnail(image)}


def test_an_empty_file_which_a_loss_of_power_left_is_made_again() -> None:
    image = new_image(702)
    storage.save_whole(image.thumbnail_name, b"")
    assert Pillow.open(io.BytesIO(thumbnail_of(image))).format == "WEBP"


def test_that_of_an_image_deleted_meanwhile_goes() -> None:
    kept, gone = new_image(703), new_image(704)
    for image in (kept, gone):
        store_thumbnail(image)
    Image.objects.filter(pk=gone.pk).delete()
    assert forget_deleted([kept, gone]) == {kept.pk}
    assert stored_thumbnail(kept) and not default_storage.exists(gone.thumbnail_name)


def test_of_many_those_without_a_readable_file_have_none() -> None:
    images = [new_image(705), new_image(706), new_image(707)]
    storage.save_whole(images[1].file_name, b"no picture")
    default_storage.delete(images[2].file_name)
    assert thumbnails_of(images, 2) == [stored_thumbnail(images[0]), None, None]


def test_a_flat_picture_is_dark_or_bright_and_not_sharp() -> None:
    for colour, light in (("black", 0), ("white", 255)):
        measures = make_thumbnail(saved(Pillow.new("RGB", (400, 300), colour), "PNG")).measures()
        assert measures == (light, 0)
    assert make_thumbnail(saved(gradient(size=(400, 300)), "PNG")).measures()[1] > 0

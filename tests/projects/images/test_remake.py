"""Thumbnails that an earlier version made wrongly are made again; the others stay."""

from __future__ import annotations

import io

import numpy as np
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from PIL import Image as Pillow

from exeml_site.lib import storage
from projects.images.thumbnail import thumbnail_of
from projects.images.upload import add_images
from projects.models import DuplicateKey, Image
from tests.factories import make_project, make_user
from tests.pictures import KINDS

pytestmark = pytest.mark.django_db


def test_a_black_thumbnail_is_made_again_and_the_others_stay(capsys: pytest.CaptureFixture[str]) -> None:
    files = [ContentFile(KINDS[name], name) for name in ("12-bit PNG", "plain JPEG")]
    add_images(make_project(labels=0), files, make_user("bob"))
    deep, plain = Image.objects.order_by("pk")
    black = io.BytesIO()
    Pillow.new("RGB", (90, 60)).save(black, "WEBP")
    storage.save_whole(deep.thumbnail_name, black.getvalue())
    thumbnail_of(plain)
    for image in (deep, plain):
        DuplicateKey.objects.create(image=image, pixels=bytes(3072))

    call_command("remake_thumbnails")
    call_command("remake_thumbnails")

    assert capsys.readouterr().out.splitlines() == [
        "1 thumbnails have changed.",
        "0 thumbnails have changed.",
    ]
    with default_storage.open(deep.thumbnail_name) as file:
        assert np.asarray(Pillow.open(file).convert("L")).std() > 70
    assert list(DuplicateKey.objects.values_list("image", flat=True)) == [plain.pk]


def test_an_image_without_a_file_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    files = [ContentFile(KINDS[name], name) for name in ("PNG turned", "plain JPEG")]
    add_images(make_project(labels=0), files, make_user("bob"))
    lost, other = Image.objects.order_by("pk")
    default_storage.delete(lost.file_name)

    call_command("remake_thumbnails")

    assert default_storage.exists(other.thumbnail_name)
    assert f"image {lost.pk} stays" in caplog.text

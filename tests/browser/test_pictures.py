"""Pictures in a real Chromium: what it shows of each kind of file is what the model gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.urls import reverse

from projects.images.decode import load_normalized
from projects.models import Image
from tests.browser.chromium import take_screenshot
from tests.factories import make_project
from tests.pictures import KINDS, several_pictures

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Open = Callable[..., Any]
SUFFIXES = {"JPEG": "jpg", "TIFF": "tif", "HEIC": "heic", "PNG": "png", "WebP": "webp", "MPO": "jpg"}
# Draws the enlarged picture and gives its pixels, as Chromium decodes and turns them.
READ_PIXELS = """async (address) => {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return [canvas.width, canvas.height, [...context.getImageData(0, 0, canvas.width, canvas.height).data]];
}"""


def file_of(kind: str) -> str:
    return f"{kind}.{next((suffix for name, suffix in SUFFIXES.items() if name in kind), 'bin')}"


def test_chromium_shows_the_normalized_picture_of_every_kind(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    page.goto(reverse("label_data", args=[project.pk]))
    for kind, content in KINDS.items():
        (tmp_path / file_of(kind)).write_bytes(content)
    page.locator("#files").set_input_files([tmp_path / file_of(kind) for kind in KINDS])
    page.get_by_text("added").first.wait_for()
    page.wait_for_function(
        "() => /^\\d+ added/.test(document.getElementById('uploads-words').textContent)", timeout=60_000
    )

    apart = {}
    for image in Image.objects.filter(project=project):
        kind = image.name.rpartition(".")[0]
        width, height, values = page.evaluate(READ_PIXELS, reverse("image_file", args=[project.pk, image.pk]))
        shown = np.array(values).reshape(height, width, 4)[..., :3]
        normalized = np.asarray(load_normalized(KINDS[kind]), int)
        assert shown.shape == normalized.shape, kind
        apart[kind] = float(np.abs(shown - normalized).mean())
    assert len(apart) > len(KINDS) - 5  # a few kinds have the same bytes
    assert {kind: difference for kind, difference in apart.items() if difference > 3} == {}


def test_the_upload_says_that_only_the_first_page_is_used(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0)
    (tmp_path / "scan.tif").write_bytes(several_pictures("TIFF", 3))
    (tmp_path / "phone.heic").write_bytes(KINDS["HEIC turned"])
    page = open_page("bob")
    page.goto(reverse("label_data", args=[project.pk]))
    page.locator("#files").set_input_files([tmp_path / "scan.tif", tmp_path / "phone.heic"])
    page.get_by_text("Added. Only the first of its 3 pictures is used.").wait_for()
    page.get_by_text("2 added").wait_for()
    take_screenshot(page, "upload-note")

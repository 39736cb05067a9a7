"""An upload keeps two of its files in memory, however many come with one request."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from django.core.files.uploadedfile import TemporaryUploadedFile
from PIL import Image as Pillow

from projects.images.upload import add_images
from tests.factories import make_project, make_user

FILES, SIDE = 16, 1200
FILE_BYTES = 3 * SIDE * SIDE


def bitmap(seed: int) -> TemporaryUploadedFile:
    """A file of 4 MB on the disk, as Django makes it of a large request."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    content = io.BytesIO()
    Pillow.fromarray(noise).save(content, "BMP")
    file = TemporaryUploadedFile(f"{seed}.bmp", "image/bmp", len(content.getvalue()), None)
    file.write(content.getvalue())
    file.seek(0)
    return file


@pytest.mark.django_db
def test_an_upload_of_many_files_needs_the_memory_of_a_few() -> None:
    project = make_project(labels=0)
    files = [bitmap(seed) for seed in range(FILES)]
    add_images(project, [bitmap(FILES)], make_user("alice"))  # loads what is loaded once
    tracemalloc.start()
    try:
        outcomes = add_images(project, files, make_user("alice"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [outcome.status for outcome in outcomes] == ["added"] * FILES
    assert peak < 8 * FILE_BYTES, f"{peak / FILE_BYTES:.1f} files in memory"

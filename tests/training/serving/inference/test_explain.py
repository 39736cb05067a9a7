"""Heat maps have the shape of their picture as people see it, whatever its orientation in the file."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from django.core.files.storage import default_storage
from PIL import Image as Picture

from training.models import TrainingVersion
from training.serving.inference import explain


def textured(size: tuple[int, int], orientation: int | None = None) -> bytes:
    """Blue with red at the left, for an orientation of 6 stored lying on its side."""
    noise, (width, height) = np.random.default_rng(5), size
    pixels = noise.normal((40, 40, 200), 40, (height, width, 3))
    pixels[:, : width // 2] = noise.normal((200, 40, 40), 40, (height, width // 2, 3))
    picture, out = Picture.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), io.BytesIO()
    exif = Picture.Exif()
    if orientation == 6:  # is turned clockwise to be seen
        picture = picture.transpose(Picture.Transpose.ROTATE_90)
        exif[0x0112] = 6
    picture.save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("size", [(200, 200), (400, 200), (200, 400), (640, 160)])
@pytest.mark.parametrize("orientation", [None, 6])
def test_a_heat_map_lies_exactly_on_its_upright_picture(
    size: tuple[int, int], orientation: int | None, version: TrainingVersion, tiny_bundle: Path
) -> None:
    folder = Path(default_storage.path(version.folder)) / "bundle"
    shutil.rmtree(folder)
    shutil.copytree(tiny_bundle, folder)
    content = textured(size, orientation)
    seen = {}
    for label in ("red", "blue"):
        heat = Picture.open(io.BytesIO(explain.heat_map(version, content, label))).convert("RGB")
        assert heat.width / heat.height == pytest.approx(size[0] / size[1], rel=0.01)
        pixels = np.asarray(heat).astype(int)
        glow = np.clip(pixels[..., 0] - pixels[..., 2], 0, None).sum(0)
        seen[label] = glow[: heat.width // 2].sum() / glow.sum()
    assert seen["red"] > 0.6 and seen["blue"] < 0.4, "red is at the left of the upright picture"

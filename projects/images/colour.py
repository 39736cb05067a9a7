"""Conversion of any Pillow colour mode to RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow


def as_rgb(picture: Pillow.Image) -> Pillow.Image:
    if picture.mode.startswith(("I", "F")):
        return _from_deep_grey(picture)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Pillow.new("RGBA", rgba.size, "white")
        return Pillow.alpha_composite(white, rgba).convert("RGB")
    return picture.convert("RGB")


def _from_deep_grey(picture: Pillow.Image) -> Pillow.Image:
    """Convert 16-bit (or deeper) grey to 8 bit: 65535 becomes 255. Values that already fit 8 bit stay."""
    grey = np.asarray(picture).astype(np.float64)
    is_deep = picture.mode.startswith("I;16") or grey.max(initial=0) > 255
    eight_bit = np.clip(grey / 257 if is_deep else grey, 0, 255).round().astype(np.uint8)
    return Pillow.fromarray(eight_bit).convert("RGB")

"""Augmentation of a batch in a few tensor operations; the same seed gives the same numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Strength:
    """How far images may be changed. `scale`: the smallest share of the area that a crop keeps."""

    scale: float = 0.5
    stretch: float = 4 / 3
    rotation_degrees: float = 10
    light: float = 0.2
    is_mirrored: bool = True
    is_rotated: bool = False  # by quarter turns, besides the few degrees


def augment(pixels: Tensor, size: int, strength: Strength, random: torch.Generator) -> Tensor:
    """[N, S, S, 3] uint8 to [N, 3, size, size] float in [-1, 1]: random crop, rotation, mirroring, light.

    `random` is a generator on the CPU, so a GPU gets the same numbers.
    """
    images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    frames = _affine_maps(len(pixels), strength, random).to(images.device)
    grid = torch.nn.functional.affine_grid(frames, [len(pixels), 3, size, size], align_corners=False)
    cut = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain, lift = (_uniform(len(pixels), strength.light, random).to(cut.device) for _ in range(2))
    return (cut * (1 + gain)[:, None, None, None] + lift[:, None, None, None]).clamp(-1, 1)


def _affine_maps(n: int, strength: Strength, random: torch.Generator) -> Tensor:
    """[n, 2, 3] affine maps from the output square to the cropped part of the input."""
    area = strength.scale + (1 - strength.scale) * torch.rand(n, generator=random)
    stretch = torch.exp(_uniform(n, math.log(strength.stretch), random)).sqrt()
    width, height = (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)
    angle = _uniform(n, math.radians(strength.rotation_degrees), random)
    if strength.is_rotated:
        angle = angle + math.pi / 2 * torch.randint(4, (n,), generator=random)
    x, y = _uniform(n, 1, random) * (1 - width), _uniform(n, 1, random) * (1 - height)
    if strength.is_mirrored:
        width = width * torch.sign(_uniform(n, 1, random))
    top = torch.stack([angle.cos() * width, -angle.sin() * height, x], dim=1)
    bottom = torch.stack([angle.sin() * width, angle.cos() * height, y], dim=1)
    return torch.stack([top, bottom], dim=1)


def _uniform(n: int, spread: float, random: torch.Generator) -> Tensor:
    return spread * (2 * torch.rand(n, generator=random) - 1)

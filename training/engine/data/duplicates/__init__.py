"""Which images are duplicates of one another, so that duplicates never stand in both parts of a split.

A duplicate is the same image saved again, resized, a little lighter, darker or richer in contrast, cropped by
a few per cent, rotated by quarter turns or mirrored. Two photos of the same thing are no duplicates.

descriptors   what is computed from each image: luminance, low frequencies, colour
matching      candidate pairs, found by a product of sketches that no symmetry changes, and their distances
groups        from confirmed pairs to groups
"""

from training.engine.data.duplicates.descriptors import KEY_SIDE, Indices
from training.engine.data.duplicates.groups import (
    duplicate_groups,
    duplicate_keys,
    group_duplicate_keys,
    group_files,
)

__all__ = [
    "KEY_SIDE",
    "Indices",
    "duplicate_groups",
    "duplicate_keys",
    "group_duplicate_keys",
    "group_files",
]

"""What the documentation advises about the time of a training, and minutes that were typed as hours."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from training.models.version import MAX_TRAINING_MINUTES, MIN_TRAINING_MINUTES

IMAGES_PER_HOUR = 2000


def advised_hours(images: int) -> int:
    """More than 1 hour is advised for 2,000 images: one hour, and one more for every 2,000 images."""
    return min(1 + images // IMAGES_PER_HOUR, MAX_TRAINING_MINUTES // 60)


def minutes_meant(typed: str, advised: int) -> int | None:
    """The minutes that a whole number of hours was probably meant as: 6 hours as 6 minutes.

    None where the number is no more than the `advised` hours, or would be no possible time in minutes.
    """
    if not re.fullmatch(r"[0-9]{1,4}", typed.strip()):
        return None
    number = int(typed)
    is_possible = MIN_TRAINING_MINUTES <= number <= MAX_TRAINING_MINUTES
    return number if is_possible and number > advised else None


def hours_text(minutes: int) -> str:
    """Minutes as the fewest hundredths of hours that are at least as long: "0.1" for 6, "0.17" for 10."""
    return f"{Decimal(math.ceil(minutes * 100 / 60)) / 100:f}"

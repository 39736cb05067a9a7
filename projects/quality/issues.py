"""What may be wrong with a project's images: checks are comparisons of columns that the workers fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Least

from projects.models import Annotation
from projects.models.image import ImageQuerySet

BLURRED = 25.0  # variance of the thumbnail's Laplacian, at most; in a project of soft pictures it is less
DARK, BRIGHT = 40.0, 235.0  # mean luminance, 0–255
TINY = 32  # pixels of the shorter side
ODD = 3  # times as long as wide
OUTLIER = 1.6  # times the usual distance to its neighbours


@dataclass(frozen=True)
class Check:
    """`name` stands in addresses; `meaning` and `remedy` are sentences for the person."""

    name: str
    title: str
    meaning: str
    remedy: str


CHECKS = (
    Check(
        "suspects",
        "Probable wrong labels",
        "A model that has not seen the image is sure of another label.",
        "Look at each: + takes the other label, − keeps the one it has.",
    ),
    Check(
        "conflicts",
        "Copies with different labels",
        "The same picture carries different labels.",
        "Give all copies the same label.",
    ),
    Check(
        "duplicates",
        "Near-duplicates",
        "Copies, also resized, turned, mirrored or lightly changed: they teach little and flatter scores.",
        "Keep one of each group unless there is a reason to keep more.",
    ),
    Check(
        "hard",
        "Hard examples",
        "For two reasons or more the model will find them hard; the enlarged image names them.",
        "Label these first, and look twice: they teach most and are mislabeled most.",
    ),
    Check(
        "outliers",
        "Unlike all others",
        "The image is far from every other one of the project.",
        "Delete what does not belong here, or add more images like it.",
    ),
    Check(
        "blurred",
        "Blurred",
        "Hardly any sharp edge.",
        "Delete what a person cannot recognize either.",
    ),
    Check("dark", "Dark", "Nearly black as a whole.", "Delete, or take the photo again with more light."),
    Check("bright", "Bright", "Nearly white as a whole.", "Delete, or take the photo again with less light."),
    Check(
        "tiny",
        "Tiny",
        f"The shorter side has fewer than {TINY} pixels.",
        "Upload a larger version where there is one.",
    ),
    Check(
        "odd",
        "Odd shape",
        f"More than {ODD} times as long as wide: the model sees the middle of it.",
        "Cut it to what matters.",
    ),
)
BY_NAME = {check.name: check for check in CHECKS}


def filtered(images: ImageQuerySet, name: str) -> ImageQuerySet:
    """The images that a check points at. Raises KeyError for a name that no check has."""
    if name == "conflicts":
        return images.filter(duplicate_group__in=_torn_groups().values("image__duplicate_group"))
    if name == "odd":
        sides = images.annotate(long=Greatest("width", "height"), short=Least("width", "height"))
        return sides.filter(long__gt=ODD * F("short"))
    return images.filter(_CONDITIONS[name])


_CONDITIONS = {
    "suspects": Q(suspicion__isnull=False),
    "duplicates": Q(duplicate_group__isnull=False),
    "hard": Q(hard_reasons__contains=",") | Q(is_hard=True),
    "outliers": Q(oddness__gt=OUTLIER),
    "blurred": Q(sharpness__lt=Coalesce(F("project__blur_limit"), BLURRED)),
    "dark": Q(brightness__lt=DARK),
    "bright": Q(brightness__gt=BRIGHT),
    "tiny": Q(width__lt=TINY) | Q(height__lt=TINY),
}


def _torn_groups() -> QuerySet[Annotation, Any]:
    """Groups of copies whose living images, of one label each, carry more than one label between them."""
    carried = Annotation.objects.filter(
        image__deleted_at=None, image__duplicate_group__isnull=False, image__project__is_multi_label=False
    )
    groups = carried.order_by().values("image__duplicate_group")
    return groups.annotate(different=Count("label", distinct=True)).filter(different__gt=1)

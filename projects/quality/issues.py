"""Kinds of issue that images may have, as query filters on columns that the workers fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Least

from projects.models import Annotation
from projects.models.image import ImageQuerySet

# Variance of the thumbnail's Laplacian, at most; `Project.blur_limit` is lower where pictures are soft.
MAX_BLURRED_SHARPNESS = 25.0
MAX_DARK_LUMINANCE, MIN_BRIGHT_LUMINANCE = 40.0, 235.0  # mean luminance, 0–255
MIN_SHORT_SIDE_PX = 32  # of the shorter side
MAX_ASPECT_RATIO = 3  # longer side / shorter side
MIN_OUTLIER_SCORE = 1.6  # distance to the nearest neighbours / usual distance


@dataclass(frozen=True)
class Issue:
    """A kind of issue. `name` is used in URLs; `meaning` and `remedy` are sentences for the user."""

    name: str
    title: str
    meaning: str
    remedy: str


ISSUES = (
    Issue(
        "suspects",
        "Probable wrong labels",
        "A model not trained on the image is confident of another label.",
        "Check each image: + takes the suggested label, − keeps the present one.",
    ),
    Issue(
        "conflicts",
        "Duplicates with different labels",
        "The same picture has different labels.",
        "Give all duplicates the same label.",
    ),
    Issue(
        "duplicates",
        "Near-duplicates",
        "Also resized, rotated, mirrored or slightly changed: they add little and inflate scores.",
        "Keep one image of each group, unless there is a reason to keep more.",
    ),
    Issue(
        "hard",
        "Hard examples",
        "Hard for the model for two or more reasons, which the enlarged image shows.",
        "Label these first and carefully: they improve the model most and are mislabeled most often.",
    ),
    Issue(
        "outliers",
        "Outliers",
        "The image differs from every other image of the project.",
        "Delete what does not belong here, or add more images like it.",
    ),
    Issue(
        "blurred",
        "Blurred",
        "The image has hardly any sharp edge.",
        "Delete images that a person cannot recognize either.",
    ),
    Issue("dark", "Dark", "The whole image is nearly black.", "Delete it, or retake it with more light."),
    Issue("bright", "Bright", "The whole image is nearly white.", "Delete it, or retake it with less light."),
    Issue(
        "tiny",
        "Tiny",
        f"The shorter side has fewer than {MIN_SHORT_SIDE_PX} pixels.",
        "Upload a larger version where there is one.",
    ),
    Issue(
        "odd",
        "Odd shape",
        f"More than {MAX_ASPECT_RATIO} times as long as wide: the model sees only the middle.",
        "Crop it to the relevant part.",
    ),
)
ISSUE_BY_NAME = {issue.name: issue for issue in ISSUES}


def images_with_issue(images: ImageQuerySet, name: str) -> ImageQuerySet:
    """The images that have an issue. Raises KeyError for an unknown issue name."""
    if name == "conflicts":
        return images.filter(duplicate_group__in=_conflicting_groups().values("image__duplicate_group"))
    if name == "odd":
        sides = images.annotate(long=Greatest("width", "height"), short=Least("width", "height"))
        return sides.filter(long__gt=MAX_ASPECT_RATIO * F("short"))
    return images.filter(_CONDITIONS[name])


_CONDITIONS = {
    "suspects": Q(suspected_label__isnull=False),
    "duplicates": Q(duplicate_group__isnull=False),
    "hard": Q(hard_reasons__contains=",") | Q(is_hard=True),
    "outliers": Q(outlier_score__gt=MIN_OUTLIER_SCORE),
    "blurred": Q(sharpness__lt=Coalesce(F("project__blur_limit"), MAX_BLURRED_SHARPNESS)),
    "dark": Q(brightness__lt=MAX_DARK_LUMINANCE),
    "bright": Q(brightness__gt=MIN_BRIGHT_LUMINANCE),
    "tiny": Q(width__lt=MIN_SHORT_SIDE_PX) | Q(height__lt=MIN_SHORT_SIDE_PX),
}


def _conflicting_groups() -> QuerySet[Annotation, Any]:
    """Groups of duplicates with different labels, in projects with one label per image, without the bin."""
    annotations = Annotation.objects.filter(
        image__deleted_at=None, image__duplicate_group__isnull=False, image__project__is_multi_label=False
    )
    groups = annotations.order_by().values("image__duplicate_group")
    return groups.annotate(different=Count("label", distinct=True)).filter(different__gt=1)

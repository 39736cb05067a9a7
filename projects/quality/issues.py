"""Kinds of issue that images may have, as query filters on columns that the workers fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Least
from django.utils.translation import gettext_lazy

from exeml_site.lib.display import count
from exeml_site.lib.text import AnyText
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
    """A kind of issue. `name` is used in URLs; the texts are for the user, `limit` is a number in them."""

    name: str
    heading: AnyText
    description: AnyText
    remedy: AnyText
    limit: int = 0

    @property
    def title(self) -> str:
        return str(self.heading)

    @property
    def meaning(self) -> str:
        return str(self.description % {"limit": count(self.limit)})


ISSUES = (
    Issue(
        "suspects",
        gettext_lazy("Probable wrong labels"),
        gettext_lazy("A model that was not trained on the image confidently predicts another label."),
        gettext_lazy("Check each image: + accepts the suggested label, − keeps the present one."),
    ),
    Issue(
        "conflicts",
        gettext_lazy("Duplicates with different labels"),
        gettext_lazy("The same picture has different labels."),
        gettext_lazy("Give all duplicates the same label."),
    ),
    Issue(
        "duplicates",
        gettext_lazy("Near-duplicates"),
        gettext_lazy(
            "The same picture, also resized, rotated, mirrored or slightly changed. Duplicates add little "
            "and inflate scores."
        ),
        gettext_lazy("Keep one image of each group, unless there is a reason to keep more."),
    ),
    Issue(
        "hard",
        gettext_lazy("Hard examples"),
        gettext_lazy("Hard for the model, for two or more reasons that the enlarged image lists."),
        gettext_lazy(
            "Label these first, and carefully: they improve the model most and are often mislabeled."
        ),
    ),
    Issue(
        "outliers",
        gettext_lazy("Outliers"),
        gettext_lazy("The image differs from every other image of the project."),
        gettext_lazy("Delete what does not belong here, or add more images like it."),
    ),
    Issue(
        "blurred",
        gettext_lazy("Blurred"),
        gettext_lazy("The image has hardly any sharp edges."),
        gettext_lazy("Delete images that a person cannot recognize either."),
    ),
    Issue(
        "dark",
        gettext_lazy("Dark"),
        gettext_lazy("The whole image is nearly black."),
        gettext_lazy("Delete it, or retake it with more light."),
    ),
    Issue(
        "bright",
        gettext_lazy("Bright"),
        gettext_lazy("The whole image is nearly white."),
        gettext_lazy("Delete it, or retake it with less light."),
    ),
    Issue(
        "tiny",
        gettext_lazy("Tiny"),
        gettext_lazy("The shorter side has fewer than %(limit)s pixels."),
        gettext_lazy("Upload a larger version if there is one."),
        MIN_SHORT_SIDE_PX,
    ),
    Issue(
        "odd",
        gettext_lazy("Odd shape"),
        gettext_lazy("More than %(limit)s times as long as wide: the model sees only the middle."),
        gettext_lazy("Crop it to the relevant part."),
        MAX_ASPECT_RATIO,
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

"""The setting that a column of metadata is never split, and what it changes."""

from __future__ import annotations

from decimal import Decimal

from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count
from projects.datasets.readiness import SplitPreview, preview_split
from projects.models import MetadataColumn, Project

DEFAULT_RATIO = Decimal("0.8")


def set_never_split(column: MetadataColumn, is_never_split: bool) -> None:
    MetadataColumn.objects.filter(pk=column.pk).update(is_never_split=is_never_split)
    column.is_never_split = is_never_split


def effect_of(project: Project) -> str:
    """What the columns that are never split change in the next dataset version, as sentences."""
    preview = _next_split(project)
    if not preview.moved:
        return gettext("No image changes its split.")
    sentence = ngettext(
        "%(count)s image will change the split in the next dataset version. Accuracy before and after cannot "
        "be compared.",
        "%(count)s images will change the split in the next dataset version. Accuracy before and after "
        "cannot be compared.",
        preview.moved,
    )
    return sentence % {"count": count(preview.moved)}


def _next_split(project: Project) -> SplitPreview:
    """The split of the next dataset version, by the ratio of the last one."""
    last = project.dataset_versions.values_list("training_ratio", flat=True).first()
    return preview_split(project, last or DEFAULT_RATIO)

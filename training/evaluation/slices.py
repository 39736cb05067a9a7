"""Accuracy by slice: the validation images of a version by the values of a column.

A column is one of metadata, which has the name that people gave it, or one that every image has: label, who
labeled it, size, brightness, upload. Values are those of today.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from django.core.cache import cache
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Least, TruncMonth
from django.utils import timezone
from django.utils.translation import override

from projects.datasets.groups import evaluation_groups
from projects.models import Annotation, AnnotationSource, Image, LabelEvent, MetadataValue
from training.engine.evaluation.slices import SliceRate, slice_rates
from training.models import TrainingVersion
from training.models.evaluation import StoredPredictionQuerySet

MAX_SLICES = 100  # values of a column with the most images; the others are one slice
CACHED_S = 600
OTHERS = "other values"
SIZES = {
    "below 64 px": (0, 63),
    "64 to 223 px": (64, 223),
    "224 to 999 px": (224, 999),
    "1,000 px and more": (1000, 10**9),
}
BRIGHTNESS = {"dark": (-1.0, 85.0), "medium": (85.0, 170.0), "bright": (170.0, 256.0)}


@dataclass(frozen=True)
class SliceColumn:
    """A column: `read` gives evaluated image id → value, `condition` the filter of a value ("" for none).

    `name` is used in addresses; that of a column of metadata begins with a colon.
    """

    name: str
    title: str
    read: Callable[[StoredPredictionQuerySet[Any]], dict[int, str]]
    condition: Callable[[str], Q]


def columns_of(version: TrainingVersion) -> list[SliceColumn]:
    """The columns of metadata of the version's project, then those that every image has."""
    names = version.project.metadata_columns.values_list("name", flat=True)
    metadata = [
        SliceColumn(f":{name}", name, partial(_metadata, name), partial(_has_metadata, name))
        for name in names
    ]
    # An image with several labels is in no single slice.
    label = [] if version.project.is_multi_label else [SliceColumn("label", "Label", _label, _has_label)]
    return [*metadata, *label, *BUILT_IN]


def column_of(version: TrainingVersion, name: str) -> SliceColumn | None:
    return next((column for column in columns_of(version) if column.name == name), None)


def rates(version: TrainingVersion, column: SliceColumn) -> list[SliceRate]:
    """The accuracy of each value, the lowest first. Images that are never split count as one unit."""
    last = LabelEvent.objects.filter(project=version.project).values_list("pk", flat=True).first()
    never_split = version.project.metadata_columns.filter(is_never_split=True).values_list("pk", flat=True)
    key = f"slices:{version.pk}:{quote(column.name)}:{last}:{sorted(never_split)}"
    cached: list[SliceRate] | None = cache.get(key)
    if cached is None:
        cached = _count(version, column)
        cache.set(key, cached, CACHED_S)
    return cached


def _count(version: TrainingVersion, column: SliceColumn) -> list[SliceRate]:
    rows = list(version.evaluated_images.order_by("pk").values_list("pk", "image", "is_correct"))
    if not rows:
        return []
    values = column.read(version.evaluated_images.all())
    found: list[str | None] = [values.get(pk) or None for pk, _, _ in rows]
    frequent = {value for value, _ in Counter(found).most_common(MAX_SLICES)}
    named = [value if value in frequent else OTHERS for value in found]
    groups = evaluation_groups(version.project, [image for _, image, _ in rows])
    return slice_rates([is_correct for _, _, is_correct in rows], named, groups)


# --- columns ---


def _metadata(name: str, evaluated: StoredPredictionQuerySet[Any]) -> dict[int, str]:
    rows = evaluated.filter(image__metadata__column__name=name)
    return dict(rows.values_list("pk", "image__metadata__value"))


def _has_metadata(name: str, value: str) -> Q:
    rows = MetadataValue.objects.filter(image=OuterRef("image"), column__name=name)
    return Q(Exists(rows.filter(value=value))) if value else ~Q(Exists(rows))


def _label(evaluated: StoredPredictionQuerySet[Any]) -> dict[int, str]:
    return dict(evaluated.values_list("pk", "true_names"))


def _has_label(value: str) -> Q:
    return Q(true_names=value)


def _source(evaluated: StoredPredictionQuerySet[Any]) -> dict[int, str]:
    """Who labeled each image: “By hand, anna”, “Imported”."""
    rows = evaluated.filter(image__annotations__isnull=False).values_list(
        "pk", "image__annotations__source", "image__annotations__by__username"
    )
    return {pk: _source_text(source, by) for pk, source, by in rows}


def _source_text(source: str, by: str | None) -> str:
    label = _english_label(source)
    return f"{label}, {by}" if by else label


def _english_label(source: str) -> str:
    """The value of a slice is stored and stands in addresses: the same in every language."""
    with override("en"):
        return str(AnnotationSource(source).label)


def _has_source(value: str) -> Q:
    label, _, by = value.partition(", ")
    sources = [source for source in AnnotationSource.values if _english_label(source) == label]
    rows = Annotation.objects.filter(image=OuterRef("image"))
    if not value:
        return ~Q(Exists(rows))
    named = rows.filter(source__in=sources)
    return Q(Exists(named.filter(by__username=by) if by else named.filter(by=None)))


def _size(evaluated: StoredPredictionQuerySet[Any]) -> dict[int, str]:
    sides = evaluated.filter(image__isnull=False).annotate(side=Least("image__width", "image__height"))
    return {
        pk: next(text for text, (low, high) in SIZES.items() if low <= side <= high)
        for pk, side in sides.values_list("pk", "side")
    }


def _has_size(value: str) -> Q:
    if not value:
        return Q(image=None)
    low, high = SIZES.get(value, (1, 0))
    return Q(Exists(_images().annotate(side=Least("width", "height")).filter(side__gte=low, side__lte=high)))


def _brightness(evaluated: StoredPredictionQuerySet[Any]) -> dict[int, str]:
    rows = evaluated.filter(image__brightness__isnull=False).values_list("pk", "image__brightness")
    return {pk: _brightness_text(light) for pk, light in rows if light is not None}


def _brightness_text(light: float) -> str:
    return next(text for text, (low, high) in BRIGHTNESS.items() if low <= light < high)


def _has_brightness(value: str) -> Q:
    low, high = BRIGHTNESS.get(value, (1.0, 0.0))
    within = Q(image__brightness__gte=low, image__brightness__lt=high)
    return within if value else Q(image__brightness=None)


def _upload(evaluated: StoredPredictionQuerySet[Any]) -> dict[int, str]:
    """The month of the upload."""
    rows = evaluated.filter(image__isnull=False).annotate(month=TruncMonth("image__uploaded_at"))
    return {pk: f"{month.year}-{month.month:02}" for pk, month in rows.values_list("pk", "month")}


def _has_upload(value: str) -> Q:
    if not value:
        return Q(image=None)
    try:
        year, month = map(int, value.split("-"))
        first = timezone.make_aware(datetime(year, month, 1))
    except ValueError:
        return Q(pk=None)
    return Q(Exists(_images().annotate(month=TruncMonth("uploaded_at")).filter(month=first)))


def _images() -> Any:
    return Image.objects.filter(pk=OuterRef("image"))


BUILT_IN = (
    SliceColumn("source", "Labeled by", _source, _has_source),
    SliceColumn("size", "Shorter side", _size, _has_size),
    SliceColumn("brightness", "Brightness", _brightness, _has_brightness),
    SliceColumn("upload", "Month of upload", _upload, _has_upload),
)

"""Filter and order of a version's evaluated images, read from the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.params import parse_int
from projects.models.metadata import MAX_VALUE
from training.evaluation.slices import column_of, slice_text
from training.models import TrainingVersion
from training.models.evaluation import StoredPredictionQuerySet

PAGE_SIZE = 60
OUTCOMES = {
    "wrong": gettext_lazy("Wrong"),
    "right": gettext_lazy("Right"),
    "all": gettext_lazy("All"),
    "unknown": gettext_lazy("Unknown to the model"),
}
SORTS = {
    "surest": (gettext_lazy("Most confident first"), ["-confidence", "pk"]),
    "unsure": (gettext_lazy("Least confident first"), ["confidence", "pk"]),
    "strange": (gettext_lazy("Least familiar first"), ["familiarity", "pk"]),
    "name": (gettext_lazy("Name"), ["image__name", "pk"]),
}
MAX_TEXT_LENGTH = 100


class ImageFilterChip(NamedTuple):
    text: str
    address: str


@dataclass(frozen=True)
class EvaluatedImageQuery:
    """Filter and order of evaluated images; invalid parameters are ignored.

    `missed`: images that carry the label and were not predicted as it; `wrongly`: the other way round.
    """

    outcome: str = "wrong"
    true: str = ""
    predicted: str = ""
    missed: str = ""
    wrongly: str = ""
    slice: str = ""  # name of a column
    value: str = ""  # in this column; empty for none
    q: str = ""
    sort: str = "surest"
    page: int = 1

    @classmethod
    def from_address(cls, params: Mapping[str, str]) -> EvaluatedImageQuery:
        names = ("true", "predicted", "missed", "wrongly", "slice", "q")
        texts = {name: params.get(name, "").replace("\0", "").strip()[:MAX_TEXT_LENGTH] for name in names}
        is_narrowed = any(texts[name] for name in ("true", "predicted", "missed", "wrongly"))
        outcome, sort = params.get("outcome", ""), params.get("sort", "")
        return cls(
            **texts,
            value=params.get("value", "").replace("\0", "").strip()[:MAX_VALUE] if texts["slice"] else "",
            outcome=outcome if outcome in OUTCOMES else "all" if is_narrowed else "wrong",
            sort=sort if sort in SORTS else "surest",
            page=max(parse_int(params.get("page")) or 1, 1),
        )

    def images(self, version: TrainingVersion) -> StoredPredictionQuerySet[Any]:
        """The matching validation images in order, without `scores`, which are long."""
        images = version.evaluated_images.all()
        if self.slice:
            column = column_of(version, self.slice)
            images = images.filter(column.condition(self.value)) if column else images.none()
        return self.among(images)

    def among(self, predictions: StoredPredictionQuerySet[Any]) -> StoredPredictionQuerySet[Any]:
        """The matching ones of the predictions in order, without `scores`, which are long."""
        images: Any = predictions
        if self.outcome in ("wrong", "right"):
            images = images.filter(is_correct=self.outcome == "right")
        elif self.outcome == "unknown":
            images = images.filter(is_known=False)
        if self.true:
            images = images.with_true_label(self.true)
        if self.predicted:
            images = images.with_predicted_label(self.predicted)
        images = _in_first_column_only(images, self.missed, "with_true_label", "with_predicted_label")
        images = _in_first_column_only(images, self.wrongly, "with_predicted_label", "with_true_label")
        if self.q:
            images = images.filter(image__name__icontains=self.q)
        ordered: StoredPredictionQuerySet[Any] = images.defer("scores").order_by(*SORTS[self.sort][1])
        return ordered

    def address(self, **changes: Any) -> str:
        other = replace(self, **{"page": 1, **changes})
        parts = {
            field.name: getattr(other, field.name)
            for field in fields(other)
            if getattr(other, field.name) not in ("", field.default) or field.name == "outcome"
        }
        return urlencode(parts)

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """Hidden fields of the search form."""
        names = ("outcome", "true", "predicted", "missed", "wrongly", "slice", "value")
        return [(name, getattr(self, name)) for name in names if getattr(self, name)]

    @property
    def current_address(self) -> str:
        return self.address(page=self.page)

    @property
    def chips(self) -> list[ImageFilterChip]:
        texts = {
            "true": gettext("labeled %(label)s") % {"label": self.true},
            "predicted": gettext("predicted as %(label)s") % {"label": self.predicted},
            "missed": gettext("%(label)s missed") % {"label": self.missed},
            "wrongly": gettext("wrongly predicted as %(label)s") % {"label": self.wrongly},
            "q": gettext("name has “%(text)s”") % {"text": self.q},
        }
        chips = [
            ImageFilterChip(text, self.address(**{name: ""}))
            for name, text in texts.items()
            if getattr(self, name)
        ]
        if self.slice:
            text = slice_text(self.slice, self.value)
            chips.append(ImageFilterChip(text, self.address(slice="", value="")))
        return chips


def _in_first_column_only(images: Any, label: str, first: str, second: str) -> Any:
    """Images with the label in the column of `first` and not in the column of `second`."""
    if not label:
        return images
    both = getattr(images, second)(label).order_by().values("pk")
    return getattr(images, first)(label).exclude(pk__in=both)

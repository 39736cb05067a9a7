"""The search for the page: its candidates, where the time went, why it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from exeml_site.lib.display import percent, three_decimals
from training.engine.evaluation.metrics import Rate, wilson
from training.engine.evaluation.significance import LEVEL
from training.models import Candidate, StopReason, TrainingVersion

LIMIT_REACH = 1.6  # times the slowest candidate: a limit beyond is not drawn
# Recipes of fine-tuning in the engine, joined by “ + ” in a mix; their text for one model and for several.
FINE_TUNED_TEXTS = (
    ("fine-tuned", "fine-tuned", "{} fine-tuned"),
    ("last blocks", "last blocks fine-tuned", "last blocks of {} fine-tuned"),
)
RECIPE_TEXTS = {
    "linear head": "Linear head on frozen features",
    "joint linear head": "Joint linear head on frozen features",
    "linear head on turned images": "Linear head on frozen features, images turned as well",
    "joint linear head on turned images": "Joint linear head on frozen features, images turned as well",
}
PHASE_NAMES = {
    "start": "Starting the process and its libraries",
    "dataset": "Publishing the dataset version",
    "pixels": "Reading images",
    "search": "Measuring and choosing networks",
    "heads": "Frozen features and heads",
    "fine-tuning": "Fine-tuning",
    "export": "Exporting models",
    "evaluation": "Evaluating",
    "test": "Evaluating on test images",
    "charts": "Drawing charts",
    "recording": "Storing the model and the results",
}
# Why training images shaped no part of a model, by the engine's causes.
LEFT_OUT_TEXTS = {
    "unreadable": "Could not be read: {images}.",
    "reading": "Not read, because reading would have taken more than its share of the time limit: {images}.",
    "heads": "Left out of the linear heads, whose features and fit may take only a share of the time limit: "
    "{images}.",
    "fine-tuning": "Left out of fine-tuning, which had no time for more: {images}.",
    "memory": "Left out, because a fit may use only so much memory: {images}.",
    "held out": "Held out to judge the model, which was not trained again with them: {images}.",
}
BAR_UNITS, MIN_BAR_UNITS = 1000, 12  # width of the bar, and of its shortest phase to be visible
OTHER_PHASE = "Other"


class ScoredCandidate(Protocol):
    """A candidate, as the engine reports it or as it is stored."""

    @property
    def network(self) -> str: ...
    @property
    def resolution(self) -> int: ...
    @property
    def common_accuracy(self) -> float | None: ...
    @property
    def inference_ms(self) -> float | None: ...
    @property
    def is_measured(self) -> bool: ...
    @property
    def is_admissible(self) -> bool: ...
    @property
    def is_best(self) -> bool: ...


class Point(NamedTuple):
    """A candidate with accuracy and latency. On the front: no candidate as fast is as accurate."""

    ms: float
    accuracy: float
    candidate: ScoredCandidate
    is_on_front: bool

    @property
    def name(self) -> str:
        return f"{short_network(self.candidate.network)}, {self.candidate.resolution} px"


class Phase(NamedTuple):
    """A part of the training's time and its place on a bar of BAR_UNITS. `look`: its CSS class."""

    name: str
    seconds: float
    share: float
    at: float
    width: float
    look: str


@dataclass(frozen=True)
class LeaderboardRow:
    """A candidate with its `rank`: 1 and how many candidates have more of the common images right.

    Only candidates that were judged on the same images and are fast enough have one.
    """

    candidate: Candidate
    rank: int | None

    @property
    def network(self) -> str:
        return short_network(self.candidate.network)

    @property
    def recipe(self) -> str:
        return recipe_text(self.candidate.recipe)

    @property
    def rate(self) -> Rate | None:
        """The accuracy on the common images with its interval; None for a candidate not judged on them."""
        hits, images = self.candidate.common_hits, self.candidate.common_images
        return wilson(hits, images) if hits is not None and images else None


def leaderboard_rows(candidates: Iterable[Candidate]) -> list[LeaderboardRow]:
    """The chosen candidate, then the others by their rank, those without one, and the failed ones last."""
    candidates = list(candidates)
    ranked = [one for one in candidates if one.is_admissible and one.common_hits is not None]
    rows = [
        LeaderboardRow(one, 1 + sum(_hits(other) > _hits(one) for other in ranked) if one in ranked else None)
        for one in candidates
    ]

    def order(row: LeaderboardRow) -> tuple[bool, float, bool, bool, float, float]:
        one = row.candidate
        return (
            not one.is_best,
            row.rank or float("inf"),
            one.accuracy is None,
            one.common_hits is None,
            one.common_loss or float("inf"),
            one.inference_ms or 0.0,
        )

    return sorted(rows, key=order)


def _hits(candidate: Candidate) -> int:
    return candidate.common_hits or 0


def choice_note(rows: Iterable[LeaderboardRow]) -> str:
    """Why the chosen candidate leads the table though another one has more images right; else empty."""
    rows = list(rows)
    chosen = next((row.candidate for row in rows if row.candidate.is_best), None)
    first = next((row.candidate for row in rows if row.rank == 1), None)
    if chosen is None or first is None or _hits(first) <= _hits(chosen):
        return ""
    more = _hits(first) - _hits(chosen)
    text = (
        f"{short_network(first.network)} ({recipe_text(first.recipe)}) has {more} more "
        f"image{'s' if more > 1 else ''} right than the chosen candidate. "
    )
    if first.p_value is not None and first.p_value >= LEVEL:
        text += "The difference is too small to be reliable. "
    if first.common_loss and chosen.common_loss and chosen.common_loss < first.common_loss:
        text += (
            f"The chosen one has the lower log loss, {three_decimals(chosen.common_loss)} against "
            f"{three_decimals(first.common_loss)}, which also counts how sure each prediction is."
        )
    else:
        text += "The search keeps the earlier of two candidates unless the other has a lower log loss."
    return text


def points_of(candidates: Iterable[ScoredCandidate]) -> list[Point]:
    """The candidates with latency and accuracy on the common images, fastest first."""
    scored = [
        (candidate.inference_ms, candidate.common_accuracy, candidate)
        for candidate in candidates
        if candidate.inference_ms is not None and candidate.common_accuracy is not None
    ]
    points, best = list[Point](), -1.0
    for ms, accuracy, candidate in sorted(scored, key=lambda row: (row[0], -row[1], not row[2].is_best)):
        points.append(Point(ms, accuracy, candidate, is_on_front=accuracy > best))
        best = max(best, accuracy)
    return points


def is_within_reach(limit_ms: float, points: Iterable[Point]) -> bool:
    """Whether the limit can be drawn without squeezing the points into a corner."""
    return limit_ms <= LIMIT_REACH * max(point.ms for point in points)


def points_description(points: list[Point]) -> str:
    """Text alternative of the chart of accuracy and latency."""
    text = f"Accuracy on the same held-out images and single-image time of {len(points)} candidates"
    for point in points:
        if point.candidate.is_best or point is points[0]:
            title = "chosen" if point.candidate.is_best else "fastest"
            text += f"; {title}, {point.name}: {percent(point.accuracy)} at {point.ms:.1f} ms"
    slow = sum(not point.candidate.is_admissible for point in points)
    return f"{text}; {slow} slower than the limit." if slow else f"{text}."


def points_note(points: list[Point], version: TrainingVersion) -> str:
    """Says where the limit is if it is not drawn."""
    if not points or is_within_reach(version.max_inference_ms, points):
        return ""
    return f"The limit of {version.max_inference_ms} ms is far to the right of all of them."


def short_network(names: str) -> str:
    """“EfficientNet-Lite0 + EfficientNet-Lite2” as “Lite0 + Lite2”."""
    return names.replace("EfficientNet-Lite", "Lite")


def recipe_text(recipe: str) -> str:
    """“fine-tuned + last blocks + joint linear head” in plain words; an unknown recipe as it is."""
    parts = recipe.split(" + ")
    tuned = [
        singular if parts.count(part) == 1 else plural.format(parts.count(part))
        for part, singular, plural in FINE_TUNED_TEXTS
        if part in parts
    ]
    others = [f"a {part}" for part in parts if part not in [name for name, *_ in FINE_TUNED_TEXTS]]
    if not tuned:
        return RECIPE_TEXTS.get(recipe, recipe[:1].upper() + recipe[1:])
    text = " and ".join(tuned)
    if others:
        text += f", mixed with {' and '.join(others)}"
    elif len(parts) > 1:
        text += ", mixed"
    return text[:1].upper() + text[1:]


def phases_of(version: TrainingVersion) -> list[Phase]:
    """The phases of the training in the order of the work; empty if they are unknown."""
    seconds_of: dict[str, float] = version.seconds_by_phase
    if not seconds_of:
        return []
    names = [
        *(name for name in PHASE_NAMES if name in seconds_of),
        *(name for name in seconds_of if name not in PHASE_NAMES),
    ]
    lengths = {PHASE_NAMES.get(name, name[:1].upper() + name[1:]): seconds_of[name] for name in names}
    used = version.progress.get("used_s") or version.elapsed.total_seconds()
    total = max(used, sum(seconds_of.values()))
    if total > sum(seconds_of.values()):
        lengths[OTHER_PHASE] = total - sum(seconds_of.values())
    return _bar_layout(lengths, total)


def _bar_layout(lengths: dict[str, float], total: float) -> list[Phase]:
    shares = {name: seconds / total if total else 0.0 for name, seconds in lengths.items()}
    widths = {name: max(MIN_BAR_UNITS, BAR_UNITS * share) for name, share in shares.items()}
    phases, start, scale = list[Phase](), 0.0, BAR_UNITS / sum(widths.values())
    for index, (name, seconds) in enumerate(lengths.items()):
        width = scale * widths[name]
        look = "phase-other" if name == OTHER_PHASE else f"label-{index % 10}"
        phases.append(Phase(name, seconds, shares[name], round(start, 1), round(width, 1), look))
        start += width
    return phases


def why_it_ended(version: TrainingVersion) -> str:
    """Why the training of a Completed version ended, as a sentence; empty if unknown."""
    if version.stop_reason == StopReason.USER:
        person = version.stop_requested_by
        return (
            f"Stopped by {person.get_username() if person else 'a person'}; the best model so far was kept."
        )
    if version.stop_reason == StopReason.PROMOTED:
        source = promoted_from(version)
        return f"Nothing was trained: another candidate of {source} was promoted." if source else ""
    if version.stop_reason == StopReason.TIME_LIMIT:
        limit = _limit(version.max_training_minutes)
        return f"Stopped to stay within the {limit} limit; with more time, more candidates could be tried."
    return f"{version.get_stop_reason_display()}." if version.stop_reason else ""


def fitted_text(version: TrainingVersion) -> str:
    """On how many of its training images the model was fitted, as in “425 of 1,321”; empty if unknown."""
    used = version.images_used
    return f"{used['fitted']:,} of {used['given']:,}" if used else ""


def left_out_texts(version: TrainingVersion) -> list[str]:
    """Why the model was not fitted on all training images, a sentence for each cause; empty if it was."""
    used = version.images_used
    texts = [
        LEFT_OUT_TEXTS[cause].format(images=f"{count:,} image{'s' if count > 1 else ''}")
        for cause, count in used.get("left_out", {}).items()
    ]
    if used and used["fewest"] < used["fitted"]:
        texts.append(f"A part of the model was fitted on {used['fewest']:,} of these images only.")
    return texts


def promoted_from(version: TrainingVersion) -> TrainingVersion | None:
    """The version whose candidate was promoted to this one, or None."""
    return version.promoted_candidate.training_version if version.promoted_candidate else None


def _limit(minutes: int) -> str:
    return f"{minutes}-minute" if minutes < 60 else f"{minutes / 60:.4g}-hour"

"""The search for the page: its candidates, where the time went, why it ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

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
BAR_UNITS, MIN_BAR_UNITS = 1000, 12  # width of the bar, and of its shortest phase to be visible
OTHER_PHASE = "Other"


class ScoredCandidate(Protocol):
    """A candidate, as the engine reports it or as it is stored."""

    @property
    def network(self) -> str: ...
    @property
    def resolution(self) -> int: ...
    @property
    def accuracy(self) -> float | None: ...
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


def best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """By held-back accuracy; of equals the chosen and then the faster one first; failed candidates last."""

    def rank(candidate: Candidate) -> tuple[bool, float, bool, float]:
        return (
            candidate.accuracy is None,
            -(candidate.accuracy or 0.0),
            not candidate.is_best,
            candidate.inference_ms or 0.0,
        )

    return sorted(candidates, key=rank)


def points_of(candidates: Iterable[ScoredCandidate]) -> list[Point]:
    """The candidates with accuracy and latency, fastest first."""
    scored = [
        (candidate.inference_ms, candidate.accuracy, candidate)
        for candidate in candidates
        if candidate.inference_ms is not None and candidate.accuracy is not None
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
    text = f"Accuracy on held-back images and single-image time of {len(points)} candidates"
    for point in points:
        if point.candidate.is_best or point is points[0]:
            title = "chosen" if point.candidate.is_best else "fastest"
            text += f"; {title}, {point.name}: {100 * point.accuracy:.1f} % at {point.ms:.1f} ms"
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


def promoted_from(version: TrainingVersion) -> TrainingVersion | None:
    """The version whose candidate was promoted to this one, or None."""
    return version.promoted_candidate.training_version if version.promoted_candidate else None


def _limit(minutes: int) -> str:
    return f"{minutes}-minute" if minutes < 60 else f"{minutes / 60:.4g}-hour"

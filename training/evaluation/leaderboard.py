"""The search for the page: its candidates, where the time went, why it ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy, ngettext, ngettext_lazy

from exeml_site.lib.display import count, decimal, percent, three_decimals
from training.engine.backbones import registry
from training.engine.evaluation.metrics import Rate, wilson
from training.engine.evaluation.significance import LEVEL
from training.evaluation.recipes import recipe_text, short_network
from training.models import Candidate, StopReason, TrainingVersion

LIMIT_REACH = 1.6  # times the slowest candidate: a limit beyond is not drawn
PHASE_NAMES = {
    "start": gettext_lazy("Starting the process and its libraries"),
    "dataset": gettext_lazy("Publishing the dataset version"),
    "pixels": gettext_lazy("Reading images"),
    "search": gettext_lazy("Measuring and choosing networks"),
    "heads": gettext_lazy("Frozen features and heads"),
    "fine-tuning": gettext_lazy("Fine-tuning"),
    "export": gettext_lazy("Exporting models"),
    "evaluation": gettext_lazy("Evaluating"),
    "test": gettext_lazy("Evaluating on test images"),
    "charts": gettext_lazy("Drawing charts"),
    "recording": gettext_lazy("Storing the model and the results"),
}
# Why training images shaped no part of a model, by the engine's causes.
LEFT_OUT_TEXTS = {
    "unreadable": ngettext_lazy(
        "%(count)s image could not be read.", "%(count)s images could not be read.", "images"
    ),
    "reading": ngettext_lazy(
        "%(count)s image was not read, because reading may take only a share of the time limit.",
        "%(count)s images were not read, because reading may take only a share of the time limit.",
        "images",
    ),
    "heads": ngettext_lazy(
        "%(count)s image was left out of the linear heads, which may take only a share of the time limit.",
        "%(count)s images were left out of the linear heads, which may take only a share of the time limit.",
        "images",
    ),
    "fine-tuning": ngettext_lazy(
        "%(count)s image was left out of fine-tuning for lack of time.",
        "%(count)s images were left out of fine-tuning for lack of time.",
        "images",
    ),
    "memory": ngettext_lazy(
        "%(count)s image was left out, because a fit may use only a limited amount of memory.",
        "%(count)s images were left out, because a fit may use only a limited amount of memory.",
        "images",
    ),
    "held out": ngettext_lazy(
        "%(count)s image was held out to judge the model, which was not trained again with it.",
        "%(count)s images were held out to judge the model, which was not trained again with them.",
        "images",
    ),
}
BAR_UNITS, MIN_BAR_UNITS = 1000, 12  # width of the bar, and of its shortest phase to be visible
OTHER_PHASE = gettext_lazy("Other")


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
    text = ngettext(
        "%(network)s (%(recipe)s) has %(count)s more image right than the chosen candidate.",
        "%(network)s (%(recipe)s) has %(count)s more images right than the chosen candidate.",
        more,
    )
    network, recipe = short_network(first.network), recipe_text(first.recipe)
    sentences = [text % {"network": network, "recipe": recipe, "count": count(more)}]
    if first.p_value is not None and first.p_value >= LEVEL:
        sentences.append(gettext("The difference is too small to be reliable."))
    return " ".join([*sentences, _loss_note(chosen, first)])


def licences_of(candidates: Iterable[Candidate]) -> list[str]:
    """The licences (SPDX) of the pretrained weights in the chosen candidate."""
    return next((registry.licences_of(one.network) for one in candidates if one.is_best), [])


def _loss_note(chosen: Candidate, first: Candidate) -> str:
    """Why the chosen candidate is preferred to the one with the most images right."""
    if first.common_loss and chosen.common_loss and chosen.common_loss < first.common_loss:
        text = gettext(
            "The chosen one has the lower log loss, %(chosen)s against %(other)s, which also counts how "
            "confident each prediction is."
        )
        losses = {"chosen": chosen.common_loss, "other": first.common_loss}
        return text % {name: three_decimals(loss) for name, loss in losses.items()}
    return gettext("The search keeps the earlier of two candidates unless the other has a lower log loss.")


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
    text = ngettext(
        "Accuracy on the same held-out images and single-image time of %(count)s candidate.",
        "Accuracy on the same held-out images and single-image time of %(count)s candidates.",
        len(points),
    )
    sentences = [text % {"count": count(len(points))}]
    for point in points:
        if point.candidate.is_best or point is points[0]:
            sentences.append(_point_text(point))
    if slow := sum(not point.candidate.is_admissible for point in points):
        text = ngettext("%(count)s is slower than the limit.", "%(count)s are slower than the limit.", slow)
        sentences.append(text % {"count": count(slow)})
    return " ".join(sentences)


def _point_text(point: Point) -> str:
    text = gettext("Fastest: %(candidate)s, %(accuracy)s at %(ms)s ms.")
    if point.candidate.is_best:
        text = gettext("Chosen: %(candidate)s, %(accuracy)s at %(ms)s ms.")
    accuracy, ms = percent(point.accuracy), decimal(point.ms, 1)
    return text % {"candidate": point.name, "accuracy": accuracy, "ms": ms}


def points_note(points: list[Point], version: TrainingVersion) -> str:
    """Says where the limit is if it is not drawn."""
    if not points or is_within_reach(version.max_inference_ms, points):
        return ""
    text = gettext("The limit of %(ms)s ms is far to the right of all of them.")
    return text % {"ms": count(version.max_inference_ms)}


def phases_of(version: TrainingVersion) -> list[Phase]:
    """The phases of the training in the order of the work; empty if they are unknown."""
    seconds_of: dict[str, float] = version.seconds_by_phase
    if not seconds_of:
        return []
    names = [
        *(name for name in PHASE_NAMES if name in seconds_of),
        *(name for name in seconds_of if name not in PHASE_NAMES),
    ]
    lengths = {str(PHASE_NAMES.get(name, name[:1].upper() + name[1:])): seconds_of[name] for name in names}
    used = version.progress.get("used_s") or version.elapsed.total_seconds()
    total = max(used, sum(seconds_of.values()))
    if total > sum(seconds_of.values()):
        lengths[str(OTHER_PHASE)] = total - sum(seconds_of.values())
    return _bar_layout(lengths, total)


def _bar_layout(lengths: dict[str, float], total: float) -> list[Phase]:
    shares = {name: seconds / total if total else 0.0 for name, seconds in lengths.items()}
    widths = {name: max(MIN_BAR_UNITS, BAR_UNITS * share) for name, share in shares.items()}
    phases, start, scale = list[Phase](), 0.0, BAR_UNITS / sum(widths.values())
    for index, (name, seconds) in enumerate(lengths.items()):
        width = scale * widths[name]
        look = "phase-other" if name == str(OTHER_PHASE) else f"label-{index % 10}"
        phases.append(Phase(name, seconds, shares[name], round(start, 1), round(width, 1), look))
        start += width
    return phases


def why_it_ended(version: TrainingVersion) -> str:
    """Why the training of a Completed version ended, as a sentence; empty if unknown."""
    if version.stop_reason == StopReason.USER:
        if (person := version.stop_requested_by) is None:
            return gettext("Stopped by a person; the best model so far was kept.")
        text = gettext("Stopped by %(person)s; the best model so far was kept.")
        return text % {"person": person.get_username()}
    if version.stop_reason == StopReason.PROMOTED:
        source = promoted_from(version)
        text = gettext("Nothing was trained: another candidate of %(version)s was promoted.")
        return text % {"version": str(source)} if source else ""
    if version.stop_reason == StopReason.TIME_LIMIT:
        return _stopped_at_the_limit(version.max_training_minutes)
    is_converged = version.stop_reason == StopReason.CONVERGED
    return gettext("Converged: more time would not have helped.") if is_converged else ""


def fitted_text(version: TrainingVersion) -> str:
    """On how many of its training images the model was fitted, as in “425 of 1,321”; empty if unknown."""
    used = version.images_used
    if not used:
        return ""
    numbers = {"fitted": count(used["fitted"]), "given": count(used["given"])}
    return gettext("%(fitted)s of %(given)s") % numbers


def left_out_texts(version: TrainingVersion) -> list[str]:
    """Why the model was not fitted on all training images, a sentence for each cause; empty if it was."""
    used = version.images_used
    texts = [
        LEFT_OUT_TEXTS[cause] % {"images": images, "count": count(images)}
        for cause, images in used.get("left_out", {}).items()
    ]
    if used and used["fewest"] < used["fitted"]:
        text = gettext("A part of the model was fitted on only %(count)s of these images.")
        texts.append(text % {"count": count(used["fewest"])})
    return texts


def promoted_from(version: TrainingVersion) -> TrainingVersion | None:
    """The version whose candidate was promoted to this one, or None."""
    return version.promoted_candidate.training_version if version.promoted_candidate else None


def _stopped_at_the_limit(minutes: int) -> str:
    if minutes < 60:
        text = gettext(
            "Stopped at the %(minutes)s-minute limit; with more time, more candidates could be tried."
        )
        return text % {"minutes": count(minutes)}
    text = gettext("Stopped at the %(hours)s-hour limit; with more time, more candidates could be tried.")
    return text % {"hours": number_format(f"{minutes / 60:.4g}")}

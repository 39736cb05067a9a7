"""Progress of a waiting or running version, for the page."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count, decimal, percent
from training.models import Status, TrainingVersion

CURVE_WIDTH, CURVE_HEIGHT = 400, 80
HEARTBEAT_GRACE_S = 120  # a single step may take so long; a job that hangs is ended by then
MIN_CURVE_SPAN = 1.1  # times the time of the first model; a shorter curve is not drawn


@dataclass(frozen=True)
class ProgressView:
    """Progress of one version; times in seconds. `fraction` of the training, None without an estimate."""

    message: str
    elapsed_s: float
    limit_s: float
    remaining_s: float | None
    fraction: float | None
    best_accuracy: float | None
    judged: int | None  # images of the accuracy
    notes: list[str]
    points: str
    curve_floor: float  # the accuracy at the bottom of the curve; 1 at its top
    curve_text: str
    is_stopping: bool

    @property
    def percent(self) -> int | None:
        return None if self.fraction is None else min(99, int(100 * self.fraction))


def progress_of(version: TrainingVersion) -> ProgressView:
    """The progress of `version`. At most one query: the trainings ahead of a waiting version."""
    progress = version.progress
    elapsed = _elapsed(version)
    remaining = _remaining(version, elapsed)
    curve = progress.get("curve", [])
    return ProgressView(
        message=progress.get("message") or _queue_message(version),
        elapsed_s=elapsed,
        limit_s=version.limit.total_seconds(),
        remaining_s=remaining,
        fraction=None if remaining is None else elapsed / max(1.0, elapsed + remaining),
        best_accuracy=progress.get("best_accuracy"),
        judged=progress.get("judged"),
        notes=progress.get("notes", []),
        points=_polyline(curve, elapsed),
        curve_floor=_floor(curve),
        curve_text=_curve_text(curve),
        is_stopping=version.stop_requested_at is not None,
    )


def percent_done(version: TrainingVersion) -> int | None:
    """Percentage for the card of a Running version, None without an estimate. No query."""
    elapsed = _elapsed(version)
    remaining = _remaining(version, elapsed)
    return None if remaining is None else min(99, int(100 * elapsed / max(1.0, elapsed + remaining)))


def _elapsed(version: TrainingVersion) -> float:
    """Seconds worked so far: the worker's last report and the time since its heartbeat."""
    used: float = version.progress.get("used_s", 0.0)
    if version.status != Status.RUNNING or version.heartbeat_at is None:
        return used
    since = (timezone.now() - version.heartbeat_at).total_seconds()
    return used + since if 0 <= since <= HEARTBEAT_GRACE_S else used


def _remaining(version: TrainingVersion, elapsed: float) -> float | None:
    """The worker's estimate, counted down since it was made. None while it waits for the storage."""
    progress = version.progress
    if version.status != Status.RUNNING or progress.get("remaining_s") is None or "is_waiting" in progress:
        return None
    remaining: float = progress["remaining_s"] - max(0.0, elapsed - progress.get("remaining_at_s", elapsed))
    return max(1.0, remaining)


def _queue_message(version: TrainingVersion) -> str:
    if version.status != Status.INITIALIZING:
        return gettext("Starting")
    ahead = (
        TrainingVersion.objects.active().filter(flavor__queue=version.flavor.queue, pk__lt=version.pk).count()
    )
    if not ahead:
        return gettext("Waiting for a worker")
    sentence = ngettext(
        "Waiting for a worker: %(count)s training ahead",
        "Waiting for a worker: %(count)s trainings ahead",
        ahead,
    )
    return sentence % {"count": count(ahead)}


def _polyline(curve: list[list[float]], elapsed: float) -> str:
    """Best accuracy so far as the corners of a staircase; empty while there is hardly one step."""
    if not curve or elapsed < MIN_CURVE_SPAN * curve[0][0]:
        return ""
    width = max(elapsed, curve[-1][0], 1.0)
    floor = _floor(curve)
    corners: list[tuple[float, float]] = []
    for seconds, accuracy in [*curve, [width, curve[-1][1]]]:
        if corners:
            corners.append((seconds, corners[-1][1]))
        corners.append((seconds, accuracy))
    span = max(0.01, 1 - floor)
    return " ".join(
        f"{CURVE_WIDTH * seconds / width:.1f},{CURVE_HEIGHT * (1 - (share - floor) / span):.1f}"
        for seconds, share in corners
    )


def _floor(curve: list[list[float]]) -> float:
    """A tenth below the lowest accuracy, in whole tenths."""
    lowest = min((accuracy for _, accuracy in curve), default=0.0)
    return max(0.0, int(10 * lowest - 1) / 10)


def _curve_text(curve: list[list[float]]) -> str:
    if not curve:
        return ""
    (first_s, first), (last_s, last) = curve[0], curve[-1]
    text = gettext(
        "Best accuracy so far: %(first)s after %(first_s)s seconds, %(last)s after %(last_s)s seconds"
    )
    times = {"first_s": decimal(first_s, 0), "last_s": decimal(last_s, 0)}
    return text % {"first": percent(first), "last": percent(last), **times}

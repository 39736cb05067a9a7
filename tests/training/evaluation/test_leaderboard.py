"""Texts about the search: recipes, the front, the phases, why it ended."""

from __future__ import annotations

import pytest

from tests.factories import make_project, make_version
from training.engine import CandidateReport
from training.evaluation.leaderboard import (
    OTHER_PHASE,
    is_within_reach,
    phases_of,
    points_note,
    points_of,
    recipe_text,
    short_network,
    why_it_ended,
)
from training.models import Status, StopReason, TrainingVersion


def tried(accuracy: float | None, inference_ms: float | None, is_best: bool = False) -> CandidateReport:
    return CandidateReport(
        "EfficientNet-Lite0", 224, "linear head", accuracy, inference_ms, False, True, 1, is_best
    )


def ended(reason: str = StopReason.CONVERGED, **fields: object) -> TrainingVersion:
    fields.setdefault("progress", {"used_s": 100.0})
    return make_version(make_project(labels=0), 1, Status.COMPLETED, stop_reason=reason, **fields)


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ("linear head", "Linear head on frozen features"),
        ("joint linear head", "Joint linear head on frozen features"),
        ("linear head on turned images", "Linear head on frozen features, images turned as well"),
        (
            "last blocks + joint linear head on turned images",
            "Last blocks fine-tuned, mixed with a joint linear head on turned images",
        ),
        ("fine-tuned", "Fine-tuned"),
        ("fine-tuned + linear head", "Fine-tuned, mixed with a linear head"),
        ("fine-tuned + fine-tuned", "2 fine-tuned, mixed"),
        ("last blocks", "Last blocks fine-tuned"),
        ("last blocks + linear head", "Last blocks fine-tuned, mixed with a linear head"),
        (
            "fine-tuned + last blocks + last blocks + joint linear head",
            "Fine-tuned and last blocks of 2 fine-tuned, mixed with a joint linear head",
        ),
        (
            "fine-tuned + fine-tuned + fine-tuned + joint linear head",
            "3 fine-tuned, mixed with a joint linear head",
        ),
        ("nearest neighbours", "Nearest neighbours"),
        ("", ""),
    ],
)
def test_a_recipe_is_said_in_plain_words_and_a_stranger_as_it_is(recipe: str, text: str) -> None:
    assert recipe_text(recipe) == text


def test_a_network_is_short_and_a_stranger_keeps_its_name() -> None:
    assert short_network("EfficientNet-Lite0 + EfficientNet-Lite2") == "Lite0 + Lite2"
    assert short_network("ResNet-50 + EfficientNet-B0") == "ResNet-50 + EfficientNet-B0"


def test_on_the_front_is_what_nothing_as_quick_beats() -> None:
    slow, quick, beaten = tried(0.95, 9), tried(0.9, 5), tried(0.89, 6)

    points = points_of([slow, beaten, tried(None, 4), quick, tried(0.99, None)])

    assert [(point.candidate, point.is_on_front) for point in points] == [
        (quick, True),
        (beaten, False),
        (slow, True),
    ]


def test_of_two_equals_the_chosen_one_is_on_the_front() -> None:
    points = points_of([tried(0.9, 5), tried(0.9, 5, is_best=True)])

    assert [point.candidate.is_best for point in points if point.is_on_front] == [True]


def test_a_limit_that_is_not_drawn_is_said() -> None:
    points = points_of([tried(0.9, 5), tried(0.95, 9)])

    assert is_within_reach(12, points) and not is_within_reach(500, points)
    assert points_note(points, TrainingVersion(max_inference_ms=12)) == ""
    assert "500 ms is far to the right" in points_note(points, TrainingVersion(max_inference_ms=500))


@pytest.mark.django_db
def test_the_phases_fill_the_bar_and_even_the_shortest_is_seen() -> None:
    phases = phases_of(ended(seconds_by_phase={"pixels": 0.01, "fine-tuning": 89.99}))

    assert [phase.name for phase in phases] == ["Reading images", "Fine-tuning", OTHER_PHASE]
    assert sum(phase.seconds for phase in phases) == pytest.approx(100)
    assert sum(phase.share for phase in phases) == pytest.approx(1)
    assert sum(phase.width for phase in phases) == pytest.approx(1000, abs=0.5)
    assert min(phase.width for phase in phases) > 10


@pytest.mark.django_db
def test_phases_that_are_longer_than_the_known_duration_leave_no_rest() -> None:
    phases = phases_of(ended(seconds_by_phase={"heads": 150}))

    assert [(phase.name, phase.share) for phase in phases] == [("Frozen features and heads", 1.0)]


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [{}, {"heads": 0}])
def test_phases_without_time_break_nothing(seconds: dict[str, float]) -> None:
    assert sum(phase.seconds for phase in phases_of(ended(seconds_by_phase=seconds, progress={}))) < 1


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes", "limit"), [(6, "6-minute"), (60, "1-hour"), (90, "1.5-hour")])
def test_a_time_limit_is_named_with_what_more_time_would_do(minutes: int, limit: str) -> None:
    text = why_it_ended(ended(StopReason.TIME_LIMIT, max_training_minutes=minutes))

    assert f"Stopped to stay within the {limit} limit;" in text
    assert "with more time, more candidates could be tried." in text


@pytest.mark.django_db
def test_a_stop_by_somebody_who_is_gone_is_still_a_sentence() -> None:
    assert why_it_ended(ended(StopReason.USER)) == "Stopped by a person; the best model so far was kept."
    assert why_it_ended(TrainingVersion(stop_reason="")) == ""

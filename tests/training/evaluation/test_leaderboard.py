"""Texts about the search: recipes, the front, the phases, why it ended."""

from __future__ import annotations

import pytest

from tests.factories import make_project, make_version
from training.engine import CandidateReport
from training.engine.config import CommonScore
from training.evaluation.leaderboard import (
    OTHER_PHASE,
    choice_note,
    fitted_text,
    is_within_reach,
    leaderboard_rows,
    left_out_texts,
    phases_of,
    points_note,
    points_of,
    recipe_text,
    short_network,
    why_it_ended,
)
from training.models import Candidate, Status, StopReason, TrainingVersion


def tried(accuracy: float | None, inference_ms: float | None, is_best: bool = False) -> CandidateReport:
    common = None if accuracy is None else CommonScore(100, round(100 * accuracy), 0.4, 1.0)
    return CandidateReport(
        "EfficientNet-Lite0",
        224,
        "linear head",
        accuracy,
        inference_ms,
        False,
        True,
        1,
        is_best,
        common=common,
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
        ("distilled", "Distilled: one network that learned the answers of a mix"),
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

    assert f"Stopped at the {limit} limit;" in text
    assert "with more time, more candidates could be tried." in text


@pytest.mark.django_db
def test_a_stop_by_somebody_who_is_gone_is_still_a_sentence() -> None:
    assert why_it_ended(ended(StopReason.USER)) == "Stopped by a person; the best model so far was kept."
    assert why_it_ended(TrainingVersion(stop_reason="")) == ""


def candidate(hits: int | None, loss: float = 0.4, **fields: object) -> Candidate:
    """A candidate with `hits` of 64 common images right, or not ranked."""
    images = None if hits is None else 64
    fields = {"accuracy": 0.9, "p_value": 1.0, "recipe": "linear head"} | fields
    return Candidate(
        network="EfficientNet-Lite0",
        resolution=224,
        common_hits=hits,
        common_images=images,
        common_loss=loss,
        **fields,
    )


def test_candidates_are_ranked_by_the_same_images_alone_and_the_chosen_one_leads() -> None:
    """The fine-tuned one has the higher accuracy, but on images of its own."""
    chosen, head, other = candidate(54, is_best=True), candidate(52, accuracy=0.83), candidate(54)
    elsewhere, slow = candidate(None, accuracy=0.99), candidate(60, is_admissible=False)
    failed = candidate(None, accuracy=None, error="No memory.")

    rows = leaderboard_rows([failed, elsewhere, slow, head, other, chosen])

    assert [row.candidate for row in rows] == [chosen, other, head, slow, elsewhere, failed]
    assert [row.rank for row in rows] == [1, 1, 3, None, None, None]
    assert rows[0].rate is not None
    assert (rows[0].rate.low, rows[0].rate.high) == (
        pytest.approx(0.736, abs=0.001),
        pytest.approx(0.913, abs=0.001),
    )


def test_a_choice_that_is_not_the_most_accurate_is_explained() -> None:
    chosen, first = candidate(52, loss=0.41, is_best=True), candidate(54, loss=0.44, recipe="fine-tuned")
    note = choice_note(leaderboard_rows([first, chosen]))
    assert note == (
        "Lite0 (Fine-tuned) has 2 more images right than the chosen candidate. "
        "The difference is too small to be reliable. "
        "The chosen one has the lower log loss, 0.410 against 0.440, "
        "which also counts how confident each prediction is."
    )
    assert choice_note(leaderboard_rows([candidate(52), candidate(52, is_best=True)])) == ""


def test_how_many_images_were_used_is_said_with_every_known_cause() -> None:
    used = {
        "given": 1321,
        "fitted": 425,
        "fewest": 340,
        "judged": 85,
        "left_out": {"unreadable": 1, "reading": 895},
    }
    version = TrainingVersion(images_used=used)
    assert fitted_text(version) == "425 of 1,321"
    assert left_out_texts(version) == [
        "1 image could not be read.",
        "895 images were not read, because reading may take only a share of the time limit.",
        "A part of the model was fitted on only 340 of these images.",
    ]
    assert (fitted_text(TrainingVersion()), left_out_texts(TrainingVersion())) == ("", [])

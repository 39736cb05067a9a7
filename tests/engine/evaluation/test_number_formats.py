"""Which number format a model answers with: what is compared, and when INT8 becomes the default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.engine.bundle.test_quantization import export, member, squares
from training.engine import Sample
from training.engine.bundle import quantization
from training.engine.bundle.bundle import Bundle
from training.engine.evaluation import number_formats
from training.engine.evaluation.evaluate import SamplePrediction, evaluate
from training.engine.evaluation.number_formats import NumberFormatReport, compare
from training.engine.evaluation.significance import mcnemar_p_value

pytestmark = pytest.mark.slow

ALIKE = NumberFormatReport("int8", 200, 190, 0, 0, 200, 1.0, 1.0, 0.2, 0.0, 0.01, 20.0)


def with_counts(lost: int, won: int, images: int = 200, hits: int = 190) -> NumberFormatReport:
    p_value = mcnemar_p_value(lost, won)
    return replace(ALIKE, lost=lost, won=won, images=images, hits=hits - lost + won, p_value=p_value)


def test_the_same_answers_are_alike_from_a_hundred_images_on() -> None:
    assert ALIKE.is_alike
    assert replace(ALIKE, images=100, hits=95).is_alike
    assert not replace(ALIKE, images=99, hits=95).is_alike


def test_a_lower_accuracy_is_not_alike_once_it_can_be_told() -> None:
    assert with_counts(3, 1).is_alike
    assert not with_counts(9, 0).is_alike  # p = 0.004


def test_a_loss_beyond_the_noise_of_the_accuracy_is_not_alike_though_no_test_tells_it() -> None:
    """Five of 1,000 lost and none won: p is 0.06, and 999 of 1,000 right are known to within one image."""
    report = with_counts(5, 0, images=1000, hits=999)
    assert report.p_value > 0.05 and not report.is_alike


def test_a_higher_log_loss_is_not_alike_if_it_is_certain_and_matters() -> None:
    assert not replace(ALIKE, loss_gap=0.03, loss_gap_error=0.01).is_alike
    assert replace(ALIKE, loss_gap=0.03, loss_gap_error=0.02).is_alike
    assert replace(ALIKE, loss_gap=0.003, loss_gap_error=0.001).is_alike
    assert replace(ALIKE, loss_gap=-0.03, loss_gap_error=0.01).is_alike


def test_fewer_known_images_are_not_alike() -> None:
    assert not replace(ALIKE, known_p_value=0.01).is_alike


def prediction(number: int, label: str, score: float, is_known: bool = True) -> SamplePrediction:
    rest = (1 - score) / 2
    scores = tuple(score if name == label else rest for name in ("a", "b", "c"))
    return SamplePrediction(str(number), ("a",), (label,), scores, is_known)


def test_what_is_counted(tiny_network: None, tmp_path: Path) -> None:
    model = Bundle.load(export(tmp_path, [member(0, 64)]), 1)
    exact = [
        prediction(0, "a", 0.8),
        prediction(1, "a", 0.8),
        prediction(2, "b", 0.8),
        prediction(3, "a", 0.8),
    ]
    other = [
        prediction(0, "a", 0.8),
        prediction(1, "b", 0.6),
        prediction(2, "a", 0.5),
        prediction(3, "a", 0.8, is_known=False),
    ]
    report = compare(model, exact, other, 12.345)
    assert (report.images, report.hits, report.lost, report.won, report.agreed) == (4, 3, 1, 1, 1)
    assert (report.p_value, report.known_p_value, report.ms) == (1.0, 1.0, 12.35)
    before, after = [0.8, 0.8, 0.1, 0.8], [0.8, 0.2, 0.5, 0.8]
    assert report.loss == pytest.approx(-np.log(after).mean())
    assert report.loss_gap == pytest.approx(-np.log(after).mean() + np.log(before).mean())


@pytest.fixture
def evaluated(tiny_network: None, tmp_path: Path) -> tuple[Path, list[Sample]]:
    """A bundle with INT8, and 120 pictures that carry the labels of its float32 answers."""
    bundle = export(tmp_path, [member(0, 64)])
    quantization.add_int8(bundle, squares(), 1)
    model, samples = Bundle.load(bundle, 1), []
    for number, square in enumerate(squares(120)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(square).save(path)
        samples.append(Sample(str(number), path, model.predicted_labels(model.predict_one(path)), "EVAL"))
    return bundle, samples


def test_the_evaluation_is_that_of_the_default(evaluated: tuple[Path, list[Sample]]) -> None:
    bundle, samples = evaluated
    exact = evaluate(bundle, samples, threads=1)
    assert exact.report.accuracy.value == 1

    choice = number_formats.choose_number_format(bundle, samples, exact, 1)

    assert [report.number_format for report in choice.reports][:2] == ["float32", "int8"]
    small = choice.reports[1]
    right = {one.id for one in evaluate(bundle, samples, threads=1).predictions if one.truth == one.predicted}
    assert len(right) == round(120 * (choice.evaluation.report.accuracy.value or 0))
    assert Bundle.load(bundle, 1).number_format == choice.default
    is_quicker = small.ms <= number_formats.QUICKER * choice.reports[0].ms
    assert (choice.default == "int8") == (small.is_alike and is_quicker)
    assert small.lost == 120 - small.hits


def test_without_time_only_float32_is_known(evaluated: tuple[Path, list[Sample]]) -> None:
    bundle, samples = evaluated
    exact = evaluate(bundle, samples, threads=1)

    choice = number_formats.choose_number_format(bundle, samples, exact, 1, left_s=0.1)

    assert [report.number_format for report in choice.reports] == ["float32"]
    assert (choice.default, choice.evaluation) == ("float32", exact)

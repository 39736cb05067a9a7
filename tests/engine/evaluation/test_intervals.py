"""The intervals agree with scipy, with published values and, in simulations, with their promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from training.engine.evaluation import intervals, metrics

LABELS = tuple("abcdefghij")


def one_hot(numbers: np.ndarray, labels: int) -> np.ndarray:
    return np.eye(labels, dtype=bool)[numbers]


@pytest.mark.parametrize(("hits", "support"), [(0, 4), (3, 4), (4, 4), (69, 80), (500, 1000)])
def test_wilson_agrees_with_scipy(hits: int, support: int) -> None:
    expected = stats.binomtest(hits, support).proportion_ci(method="wilson")
    assert intervals.wilson_interval(hits / support, support) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


@pytest.mark.parametrize("degrees", [1, 2, 3, 5, 10, 30, 200])
def test_the_quantile_of_student_agrees_with_scipy(degrees: int) -> None:
    found = intervals._student_quantile(degrees)
    assert found == pytest.approx(stats.t.ppf(0.975, degrees), abs=0.03)


def test_f1_of_a_label_is_wilson_of_the_share_of_its_images() -> None:
    """18 of 20 images that carry the label or are predicted as it are both: F1 = 36 / 38."""
    low, high = intervals.f1_interval(18, 20)
    share = stats.binomtest(18, 20).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx(
        (2 * share.low / (1 + share.low), 2 * share.high / (1 + share.high)), abs=1e-12
    )
    assert low < 36 / 38 < high


def test_images_in_groups_of_their_own_have_wilsons_interval_exactly() -> None:
    truths, predictions = [("a",)] * 30 + [("b",)] * 10, [("a",)] * 33 + [("b",)] * 7
    alone = metrics.report(LABELS[:2], truths, predictions)
    grouped = metrics.report(LABELS[:2], truths, predictions, groups=[f"group {i}" for i in range(40)])
    unknown = metrics.report(LABELS[:2], truths, predictions, groups=[None] * 40)
    assert alone == grouped == unknown
    expected = stats.binomtest(37, 40).proportion_ci(method="wilson")
    assert (alone.accuracy.low, alone.accuracy.high) == pytest.approx((expected.low, expected.high))


def test_duplicates_that_stand_or_fall_together_count_as_one_image() -> None:
    """Forty images that are each there five times tell about as much as forty."""
    right = np.random.default_rng(0).random(40) < 0.8
    groups = np.arange(40).repeat(5)
    correlation = intervals.group_correlation(right.repeat(5), groups)
    assert correlation == pytest.approx(1)
    effect = intervals.design_effect(groups, correlation)
    assert effect == pytest.approx(5 * (stats.t.ppf(0.975, 39) / stats.norm.ppf(0.975)) ** 2, rel=1e-3)
    alike = np.random.default_rng(1).random(2000) < 0.8
    assert intervals.group_correlation(alike, np.arange(400).repeat(5)) < 0.1


def test_a_group_without_mistakes_does_not_pass_for_many_images() -> None:
    report = metrics.report(LABELS[:1], [("a",)] * 50, [("a",)] * 50, groups=["person"] * 25 + ["other"] * 25)
    assert report.accuracy.value == 1 and report.accuracy.low < 0.3


@pytest.mark.parametrize("labels", [2, 5, 10])
def test_no_interval_collapses_where_every_image_is_right(labels: int) -> None:
    truths = [(LABELS[i % labels],) for i in range(20)]
    report = metrics.report(LABELS[:labels], truths, truths)
    for interval in (
        report.macro_intervals.precision,
        report.macro_intervals.recall,
        report.macro_intervals.f1,
        report.per_label[0].f1_interval,
    ):
        assert interval.high == 1 and 0.2 < interval.low < 0.95


def test_intervals_hold_their_value_and_shrink_with_the_images() -> None:
    random = np.random.default_rng(5)
    widths = []
    for count in (20, 80, 320):
        truth = np.arange(count) % 4
        predicted = np.where(random.random(count) < 0.8, truth, random.integers(0, 4, count))
        names = [[(LABELS[i],) for i in side] for side in (truth, predicted)]
        report = metrics.report(LABELS[:4], *names)
        for name in ("precision", "recall", "f1"):
            low, high = getattr(report.macro_intervals, name)
            assert low <= getattr(report, f"macro_{name}") <= high
        widths.append(report.macro_intervals.f1.high - report.macro_intervals.f1.low)
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_balanced_labels_without_groups_have_the_recall_interval_of_the_accuracy() -> None:
    """With as many images of each label the mean recall is the accuracy, and so is its interval, nearly."""
    truth = np.arange(400) % 4
    predicted = np.where(np.arange(400) % 8 == truth, (truth + 1) % 4, truth)
    hits = one_hot(truth, 4) & one_hot(predicted, 4)
    low, high = intervals.macro_share_interval(hits, one_hot(truth, 4))
    expected = stats.binomtest(int(hits.sum()), 400).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.01)


def coverage_of_macro_f1(labels: int, images: int, accuracy: float, runs: int = 300) -> float:
    """How often the interval holds the F1 of a model that is right so often for each label."""
    random, inside = np.random.default_rng(labels * images), 0
    truth = np.arange(images) % labels
    for _ in range(runs):
        other = (truth + random.integers(1, labels, images)) % labels
        predicted = np.where(random.random(images) < accuracy, truth, other)
        low, high = intervals.macro_f1_interval(one_hot(truth, labels), one_hot(predicted, labels), False)
        inside += low <= accuracy <= high  # with equal labels and evenly spread mistakes F1 is the accuracy
    return inside / runs


@pytest.mark.parametrize(("labels", "images", "accuracy"), [(2, 40, 0.7), (5, 100, 0.8), (10, 300, 0.9)])
def test_macro_f1_intervals_hold_the_true_value_in_about_95_of_100_evaluations(
    labels: int, images: int, accuracy: float
) -> None:
    assert 0.92 <= coverage_of_macro_f1(labels, images, accuracy) <= 0.99


def test_mistakes_in_several_labels_of_one_image_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    truth = random.random((60, 6)) < 0.5
    wrong_together = truth ^ (random.random((60, 1)) < 0.2)
    wrong_apart = truth ^ (random.random((60, 6)) < 0.2)
    together = intervals.macro_f1_interval(truth, wrong_together, True)
    apart = intervals.macro_f1_interval(truth, wrong_apart, True)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)

"""The figures agree with scikit-learn, and the intervals with published values."""

import numpy as np
import pytest
from sklearn import metrics as sk

from training.engine.evaluation import metrics

LABELS = ("cat", "dog", "fox", "owl")


def _draw(n: int, classes: int, seed: int) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, n)
    predicted = np.where(random.random(n) < 0.6, truth, random.integers(0, classes, n))
    return [(LABELS[i],) for i in truth], [(LABELS[i],) for i in predicted]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_single_label_figures_agree_with_scikit_learn(seed: int, classes: int) -> None:
    truths, predictions = _draw(40, classes, seed)
    ours = metrics.report(LABELS, truths, predictions)
    t, p = [x[0] for x in truths], [x[0] for x in predictions]
    assert ours.accuracy.value == pytest.approx(sk.accuracy_score(t, p))
    assert ours.macro_precision == pytest.approx(sk.precision_score(t, p, average="macro", zero_division=0))
    assert ours.macro_recall == pytest.approx(sk.recall_score(t, p, average="macro", zero_division=0))
    assert ours.macro_f1 == pytest.approx(sk.f1_score(t, p, average="macro", zero_division=0))
    assert np.array_equal(ours.confusion, sk.confusion_matrix(t, p, labels=LABELS))


def test_each_label_agrees_with_scikit_learn() -> None:
    truths, predictions = _draw(60, 4, 7)
    t, p = [x[0] for x in truths], [x[0] for x in predictions]
    precision, recall, f1, support = sk.precision_recall_fscore_support(t, p, labels=LABELS)
    for i, one in enumerate(metrics.report(LABELS, truths, predictions).per_label):
        assert one.precision.value == pytest.approx(precision[i])
        assert one.recall.value == pytest.approx(recall[i])
        assert one.f1 == pytest.approx(f1[i])
        assert one.images == support[i]
        assert one.accuracy.value == pytest.approx(
            np.mean([(a == one.label) == (b == one.label) for a, b in zip(t, p, strict=True)])
        )


def test_multi_label_figures_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(3)
    t, p = random.random((50, 4)) < 0.4, random.random((50, 4)) < 0.4
    named = [[tuple(np.array(LABELS)[row]) for row in side] for side in (t, p)]
    ours = metrics.report(LABELS, *named, is_multi_label=True)
    assert ours.accuracy.value == pytest.approx(sk.accuracy_score(t, p))
    assert ours.macro_f1 == pytest.approx(sk.f1_score(t, p, average="macro", zero_division=0))
    assert ours.confusion == ()


def test_a_label_without_support_and_prediction_is_undefined_and_left_out_of_the_macro() -> None:
    ours = metrics.report(LABELS, [("cat",), ("dog",)], [("cat",), ("dog",)])
    owl = ours.per_label[3]
    assert owl.precision.value is None
    assert owl.recall.value is None
    assert owl.f1 is None
    assert ours.macro_f1 == 1


@pytest.mark.parametrize(
    ("hits", "support", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombe_1998_table_1(hits: int, support: int, low: float, high: float) -> None:
    rate = metrics.wilson(hits, support)
    assert rate.low == pytest.approx(low, abs=5e-5)
    assert rate.high == pytest.approx(high, abs=5e-5)


def test_macro_f1_of_class_numbers_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    t, p = random.integers(0, 5, 80), random.integers(0, 4, 80)
    assert metrics.macro_f1(t, p, 6) == pytest.approx(sk.f1_score(t, p, average="macro"))


def test_no_images_give_no_rate() -> None:
    assert metrics.report(LABELS, [], []).accuracy.value is None

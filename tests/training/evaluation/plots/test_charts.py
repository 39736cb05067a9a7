"""Charts: the SVG is reproducible, follows light and dark, and works with any number of labels."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET

import pytest

from training.engine import CandidateReport
from training.engine.config import CommonScore
from training.engine.evaluation.metrics import Report, report
from training.evaluation.plots import chart_style, charts
from training.evaluation.results import CHARTS

# A text that leaves no room for the axes, such as a wide legend, fails a test.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("error:constrained_layout")]

CARD_ON_A_PHONE = 332  # pixels within a card on a screen of 390
CURVE = [[3.0, 0.5], [12.0, 0.8], [90.0, 0.91]]
LITE = "EfficientNet-Lite"


def candidate(
    network: str,
    accuracy: float | None,
    inference_ms: float | None,
    is_best: bool = False,
    is_admissible: bool = True,
) -> CandidateReport:
    return CandidateReport(
        network,
        240,
        "fine-tuned",
        accuracy,
        inference_ms,
        False,
        is_admissible,
        60,
        is_best,
        common=None if accuracy is None else CommonScore(100, round(100 * accuracy), 0.4, 1.0),
    )


CANDIDATES = (
    candidate(f"{LITE}0", 0.88, 6.2),
    candidate(f"{LITE}1", 0.87, 6.9),
    candidate(f"{LITE}0 + {LITE}1", 0.94, 8.1, is_best=True),
    candidate(f"{LITE}2", 0.95, 9.9, is_admissible=False),
    candidate(f"{LITE}2", None, None),
)


def render(
    evaluation: Report,
    curve: list[list[float]] = CURVE,
    candidates: tuple[CandidateReport, ...] = CANDIDATES,
    limit_ms: float = 9,
) -> dict[str, bytes]:
    return charts.render(evaluation, curve, candidates, limit_ms)


def words_of(content: bytes) -> list[str]:
    """Every text of an SVG."""
    return [element.text or "" for element in ET.fromstring(content).iter("{http://www.w3.org/2000/svg}text")]


def make_report(labels: int, names: str = "label-{}", images: int = 6) -> Report:
    chance = random.Random(0)
    label_names = [names.format(n) for n in range(labels)]
    truths = [[label] for label in label_names for _ in range(images)]
    predictions = [truth if chance.random() < 0.8 else [chance.choice(label_names)] for truth in truths]
    return report(label_names, truths, predictions)


@pytest.mark.parametrize("labels", [2, 41, 136])
def test_every_chart_is_an_svg_for_few_and_for_many_labels(labels: int) -> None:
    drawn = render(make_report(labels), CURVE)

    assert set(drawn) == set(CHARTS)
    for content in drawn.values():
        assert ET.fromstring(content).tag.endswith("svg")


def test_the_same_evaluation_gives_the_same_bytes() -> None:
    assert render(make_report(5), CURVE) == render(make_report(5), CURVE)


def test_colours_follow_the_scheme_of_the_page_and_text_stays_text() -> None:
    for content in render(make_report(3), CURVE).values():
        text = content.decode()
        assert "prefers-color-scheme:dark" in text
        assert "var(--" in text and not any(stand_in in text for stand_in in chart_style.COLOURS)
        assert "<text" in text and "DejaVu" not in text


def test_the_matrix_carries_its_counts_while_they_can_be_read() -> None:
    few = render(make_report(2), CURVE)["confusion-matrix"].decode()
    many = render(make_report(136), CURVE)["confusion-matrix"].decode()

    assert few.count("<text") == 2 + 2 + 2 + 4  # two axes, their names, four cells
    assert many.count("<text") < 2 * charts.MAX_TICKS + 4


def test_odd_and_long_names_are_cut_and_escaped() -> None:
    content = render(make_report(3, "<b>&$x_{}$ 花 a name that goes on and on"), CURVE)["precision-recall"]

    assert "&lt;b&gt;&amp;$x_0$" in content.decode()
    assert "goes on and on" not in content.decode()


def test_several_labels_an_image_have_no_matrix() -> None:
    evaluation = report(("a", "b"), [["a", "b"], ["a"]], [["a"], ["a"]], is_multi_label=True)

    assert set(render(evaluation, CURVE)) == set(CHARTS) - {"confusion-matrix"}


@pytest.mark.parametrize("name", ["precision-recall", "learning-curve", "accuracy-latency"])
def test_text_is_at_least_11_pixels_high_on_a_screen_of_390(name: str) -> None:
    drawn = render(make_report(12))[name].decode()
    width = float(re.search(r'viewBox="0 0 ([\d.]+) ', drawn)[1])
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:bold )?([\d.]+)px", drawn)]
    assert sizes and min(sizes) * CARD_ON_A_PHONE / width >= 11


def test_the_axes_carry_names_and_units() -> None:
    drawn = render(make_report(3))
    for name, titles in {
        "precision-recall": ("Share of images (%)", "Label"),
        "learning-curve": ("Training time (minutes)", "Accuracy (%)"),
        "accuracy-latency": ("Single-image time (ms)", "Accuracy, same held-out images (%)"),
        "confusion-matrix": ("Predicted", "True label"),
    }.items():
        assert set(titles) <= set(words_of(drawn[name]))


def test_without_a_curve_there_is_no_learning_curve() -> None:
    assert "learning-curve" not in render(make_report(2), [])


def test_the_chosen_candidate_and_those_of_the_front_are_named_the_others_are_not() -> None:
    texts = words_of(render(make_report(2))["accuracy-latency"])

    for name in ("Lite0 + Lite1, 240 px", "Lite0, 240 px", "Lite2, 240 px", "Limit, 9 ms", "Too slow"):
        assert texts.count(name) == 1
    assert "Lite1, 240 px" not in texts


def test_a_limit_far_from_every_candidate_is_not_drawn() -> None:
    texts = words_of(render(make_report(2), limit_ms=500)["accuracy-latency"])

    assert not [word for word in texts if word.startswith("Limit")]


def test_the_chosen_candidate_is_named_even_where_points_crowd() -> None:
    crowd = tuple(candidate(f"{LITE}0", 0.9 + n / 1000, 6 + n / 1000) for n in range(20))
    chosen = candidate(f"{LITE}0 + {LITE}1 + {LITE}2", 0.905, 6.012, is_best=True)

    texts = words_of(render(make_report(2), candidates=(*crowd, chosen))["accuracy-latency"])

    assert texts.count("Lite0 + Lite1 + Lite2, 240 px") == 1


def test_candidates_that_are_all_alike_are_drawn() -> None:
    alike = (candidate(f"{LITE}0", 1.0, 6.2), candidate(f"{LITE}0", 1.0, 6.2, is_best=True))

    texts = words_of(render(make_report(2), candidates=alike)["accuracy-latency"])

    assert texts.count("Lite0, 240 px") == 1
    assert not [word for word in texts if word.startswith("10") and word.endswith(" %") and word != "100 %"]


@pytest.mark.parametrize("candidates", [(), CANDIDATES[:1], (CANDIDATES[0], CANDIDATES[-1])])
def test_fewer_than_two_candidates_with_both_numbers_are_no_chart(
    candidates: tuple[CandidateReport, ...],
) -> None:
    assert "accuracy-latency" not in render(make_report(2), candidates=candidates)

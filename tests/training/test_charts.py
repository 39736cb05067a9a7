"""Charts: SVG that is the same every time, follows light and dark, and copes with any number of labels."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET

import pytest

from training import charts
from training.engine.metrics import Report, report
from training.results import CHARTS

CURVE = [[3.0, 0.5], [12.0, 0.8], [90.0, 0.91]]


def make_report(labels: int, names: str = "label-{}", images: int = 6) -> Report:
    chance = random.Random(0)
    known = [names.format(n) for n in range(labels)]
    truths = [[label] for label in known for _ in range(images)]
    predictions = [truth if chance.random() < 0.8 else [chance.choice(known)] for truth in truths]
    return report(known, truths, predictions)


@pytest.mark.parametrize("labels", [2, 41, 136])
def test_every_chart_is_an_svg_for_few_and_for_many_labels(labels: int) -> None:
    drawn = charts.render(make_report(labels), CURVE)

    assert set(drawn) == set(CHARTS)
    for content in drawn.values():
        assert ET.fromstring(content).tag.endswith("svg")


def test_the_same_evaluation_gives_the_same_bytes() -> None:
    assert charts.render(make_report(5), CURVE) == charts.render(make_report(5), CURVE)


def test_colours_follow_the_scheme_of_the_page_and_text_stays_text() -> None:
    for content in charts.render(make_report(3), CURVE).values():
        text = content.decode()
        assert "prefers-color-scheme:dark" in text
        assert "var(--" in text and not any(stand_in in text for stand_in in charts.COLOURS)
        assert "<text" in text and "DejaVu" not in text


def test_the_matrix_carries_its_counts_while_they_can_be_read() -> None:
    few = charts.render(make_report(2), CURVE)["confusion-matrix"].decode()
    many = charts.render(make_report(136), CURVE)["confusion-matrix"].decode()

    assert few.count("<text") == 2 + 2 + 2 + 4  # two axes, their names, four cells
    assert many.count("<text") < 2 * charts.MOST_TICKS + 4


def test_odd_and_long_names_are_cut_and_escaped() -> None:
    content = charts.render(make_report(3, "<b>&$x_{}$ 花 a name that goes on and on"), CURVE)[
        "precision-recall"
    ]

    assert "&lt;b&gt;&amp;$x_0$" in content.decode()
    assert "goes on and on" not in content.decode()


def test_several_labels_an_image_have_no_matrix() -> None:
    found = report(("a", "b"), [["a", "b"], ["a"]], [["a"], ["a"]], is_multi_label=True)

    assert set(charts.render(found, CURVE)) == {"precision-recall", "learning-curve"}


def test_without_a_curve_there_is_no_learning_curve() -> None:
    assert "learning-curve" not in charts.render(make_report(2), [])

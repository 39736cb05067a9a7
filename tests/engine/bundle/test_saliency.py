"""Saliency maps: places and bias add up to the logit, and the evidence lies where the label is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training.bundles import write_colour_bundle
from tests.training.fitted import fit_until_first_model, make_samples
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.saliency import Explainer, paint_heatmap
from training.engine.config import EngineError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = make_samples(tmp_path_factory.mktemp("samples"))
    return fit_until_first_model(samples, tmp_path_factory.mktemp("fit"))


def halves(side: int) -> np.ndarray:
    """Left the texture of “red”, right that of “blue”."""
    noise = np.random.default_rng(5)
    left = noise.normal((200, 40, 40), 40, (side, side // 2, 3))
    right = noise.normal((40, 40, 200), 40, (side, side - side // 2, 3))
    return np.clip(np.concatenate([left, right], 1), 0, 255).astype(np.uint8)


def test_places_and_bias_add_up_to_the_logits(folder: Path) -> None:
    bundle, explainer = Bundle.load(folder), Explainer.load(folder)
    square = halves(bundle.description["preprocessing"]["side"])
    logits, _ = bundle.logits(square)
    for label in range(len(bundle.labels)):
        whole = explainer.bias[label] + sum(float(part.sum()) for part in explainer.parts(square, label))
        assert whole == pytest.approx(float(logits.reshape(-1)[label]), abs=1e-3)


def test_the_glow_lies_on_the_half_that_shows_the_label(folder: Path) -> None:
    explainer = Explainer.load(folder)
    square = halves(Bundle.load(folder).description["preprocessing"]["side"])
    for label, is_left in (("red", True), ("blue", False)):
        evidence = explainer.evidence(square, explainer.labels.index(label), 64)
        assert evidence.shape == (64, 64) and evidence.max() == 1 and evidence.min() >= 0
        left, right = float(evidence[:, :32].mean()), float(evidence[:, 32:].mean())
        assert (left > 1.5 * right) if is_left else (right > 1.5 * left)
    assert paint_heatmap(square, evidence).shape == square.shape


@pytest.mark.parametrize(
    ("width", "height", "window"),
    [
        (120, 120, (0, 0, 120, 120)),
        (120, 90, (0, 0, 120, 90)),
        (240, 90, (60, 0, 180, 90)),
        (90, 240, (0, 60, 90, 180)),
        (300, 60, (75, 0, 225, 60)),
    ],
)
def test_the_glow_lies_where_the_model_saw_it_in_pictures_of_every_shape(
    width: int, height: int, window: tuple[int, int, int, int]
) -> None:
    """The evidence is the lower right quarter of the square that the model sees."""
    evidence = np.zeros((64, 64), np.float32)
    evidence[32:, 32:] = 1
    painted = paint_heatmap(np.full((height, width, 3), 100, np.uint8), evidence).astype(int)
    left, top, right, bottom = window
    rows, columns = np.nonzero(painted[..., 0] - painted[..., 2] > 90)  # clearly coloured
    assert (columns.min(), columns.max() + 1) == pytest.approx(((left + right) / 2, right), abs=2)
    assert (rows.min(), rows.max() + 1) == pytest.approx(((top + bottom) / 2, bottom), abs=2)
    dark = painted[..., 0] < 60
    assert dark.sum() == width * height - (right - left) * (bottom - top), "what the model does not see"


def test_a_network_of_another_kind_is_refused_in_words(tmp_path: Path) -> None:
    write_colour_bundle(tmp_path / "colour")
    with pytest.raises(EngineError, match="cannot say where it looks"):
        Explainer.load(tmp_path / "colour")

"""Which augmentations are harmless, and what is trained on rotated images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.search.test_state import make_data, make_search
from training.engine.backbones import features, registry
from training.engine.backbones.classifier import Head, Member, pretrained_state
from training.engine.data.augment import Strength, augment
from training.engine.data.images import Pixels
from training.engine.evaluation.scoring import score_logits
from training.engine.search import augmentation_probe, budget, head_search
from training.engine.search.augmentation_probe import gains_from_rotation, tolerates_mirroring
from training.engine.search.linear_probe import fit_joint_head, head_left_out
from training.engine.search.state import FittedCandidate, SearchState

pytestmark = pytest.mark.slow

SIDE = 48
LETTERS = {
    "F": ("##### ", "#     ", "####  ", "#     ", "#     ", "#     "),
    "P": ("##### ", "#   # ", "##### ", "#     ", "#     ", "#     "),
}


def stripes(label: int, random: np.random.Generator) -> Pixels:
    """Horizontal or vertical stripes: mirroring keeps the label, a quarter turn changes it."""
    along = np.mgrid[:SIDE, :SIDE][label]
    return shown(np.sin(along / 3 + random.uniform(0, 6)) > 0, 30, random)


def letters_from_above(label: int, random: np.random.Generator) -> Pixels:
    """One of two letters, rotated by random quarter turns."""
    return np.rot90(shown(letter("FP"[label], random), 70, random), random.integers(4))


def upright_letters(label: int, random: np.random.Generator) -> Pixels:
    """One of two letters, upright."""
    return shown(letter("FP"[label], random), 70, random)


def sided_letters(label: int, random: np.random.Generator) -> Pixels:
    """An upright letter, or its mirror image."""
    upright = letter("F", random)
    return shown(upright[:, ::-1] if label else upright, 30, random)


def letter(name: str, random: np.random.Generator) -> np.ndarray:
    cells = np.array([[cell == "#" for cell in row] for row in LETTERS[name]])
    drawn = np.pad(np.kron(cells, np.ones((6, 6), bool)), 6)
    return np.roll(drawn, random.integers(-4, 5, 2), (0, 1))


def shown(shape: np.ndarray, noise: float, random: np.random.Generator) -> Pixels:
    grain = random.normal(0, noise, (SIDE, SIDE, 3))
    return np.clip(60 + 120 * shape[..., None] + grain, 0, 255).astype(np.uint8)


def pictures(paint: Callable[[int, np.random.Generator], Pixels], count: int = 120) -> Pixels:
    random = np.random.default_rng(0)
    return np.stack([paint(number % 2, random) for number in range(count)])


def searched(folder: Path, pixels: Pixels) -> tuple[SearchState, FittedCandidate]:
    """A search over these images, and its first candidate."""
    rows, file = np.arange(len(pixels)), folder / "image.png"
    Image.fromarray(pixels[0]).save(file)
    search = make_search(folder, make_data(pixels, rows % 2, [file] * len(rows)))
    search.run.clock.max_seconds = 600  # a busy machine ends no test
    search.head_rows = rows
    network = registry.NETWORKS[0]
    empty = Head(torch.zeros(2, 1280), torch.zeros(2))
    member = Member(network, 96, pretrained_state(network), empty, is_deep=True)
    fit = fit_joint_head(search, [member])
    candidate = FittedCandidate(
        fit.members,
        "linear head",
        fit.held_out,
        fit.is_held_out,
        fit.score,
        6.0,
        1.0,
        (head_left_out(search),),
    )
    return search, candidate


@pytest.fixture(scope="module")
def from_above(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchState, FittedCandidate]:
    search, first = searched(tmp_path_factory.mktemp("above"), pictures(letters_from_above))
    search.add(first)
    return search, first


def test_turns_do_not_teach_where_they_change_the_label_and_mirrors_do_no_harm(tmp_path: Path) -> None:
    search, first = searched(tmp_path, pictures(stripes))
    assert not gains_from_rotation(search, first)
    assert tolerates_mirroring(search, first)


def test_images_with_a_top_are_not_trained_on_in_their_turns_though_more_images_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upright letters: a head that has seen no turned one does not recognize it."""
    monkeypatch.setattr(augmentation_probe, "MAX_ROTATION_RATIO", 10)  # any gain suffices
    search, first = searched(tmp_path, pictures(upright_letters))
    assert not gains_from_rotation(search, first)


def test_mirrors_do_harm_where_sides_matter(tmp_path: Path) -> None:
    search, first = searched(tmp_path, pictures(sided_letters))
    assert not tolerates_mirroring(search, first)


def test_few_pictures_cannot_tell_whether_turns_teach(
    from_above: tuple[SearchState, FittedCandidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    search, first = from_above
    assert gains_from_rotation(search, first)
    monkeypatch.setattr(search, "head_rows", search.head_rows[:80])
    assert not gains_from_rotation(search, first)


@pytest.mark.parametrize(
    ("name", "little", "is_short"), [("ROTATION_SHARE", 0, True), ("MAX_HEAD_ROWS", 200, False)]
)
def test_without_time_or_room_for_turned_pictures_plain_ones_teach_alone(
    name: str,
    little: int,
    is_short: bool,
    from_above: tuple[SearchState, FittedCandidate],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search, first = from_above
    monkeypatch.setattr(search, "best", first)
    monkeypatch.setattr(search.run.clock, "is_short", False)
    monkeypatch.setattr(budget, name, little)
    head_search._fit_with_rotations(search, first.members, [first])
    assert search.best is first
    assert search.run.clock.is_short == is_short


def test_where_there_is_no_top_a_head_on_turned_pictures_is_better_and_wins(
    from_above: tuple[SearchState, FittedCandidate],
) -> None:
    search, first = from_above
    head_search._export_first_model(search, first)
    assert search.is_rotated
    assert search.best is not None
    assert search.best.recipe.endswith("linear head on turned images")
    assert search.best.score.loss < 0.95 * first.score.loss
    assert search.best.held_out.shape == first.held_out.shape
    assert score_logits(search.best.held_out, search.data.targets, False) == search.best.score


def test_features_of_turned_pictures_are_those_of_pictures_that_were_turned() -> None:
    network = registry.NETWORKS[0]
    member = Member(network, 96, pretrained_state(network), Head(torch.zeros(2, 1280), torch.zeros(2)))
    squares = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    turned = features.extract_features(member, squares, 1, "cpu", lambda share: None, quarters=3)
    by_hand = np.rot90(squares, 3, axes=(1, 2)).copy()
    assert torch.equal(turned, features.extract_features(member, by_hand, 1, "cpu", lambda share: None))


@pytest.mark.parametrize(("is_rotated", "corners"), [(True, {0, 1, 2, 3}), (False, {0})])
def test_augmentation_turns_by_quarters_where_asked(is_rotated: bool, corners: set[int]) -> None:
    squares = torch.zeros(32, 64, 64, 3, dtype=torch.uint8)
    squares[:, :32, :32] = 255
    plain = Strength(
        scale=1, stretch=1, rotation_degrees=0, light=0, is_mirrored=False, is_rotated=is_rotated
    )
    images = augment(squares, 64, plain, torch.Generator().manual_seed(0))
    quarters = images.mean(dim=1).unflatten(2, (2, 32)).unflatten(1, (2, 32)).mean(dim=(2, 4)).flatten(1)
    assert set(quarters.argmax(dim=1).tolist()) == corners
    assert quarters.max(dim=1).values.min() > 0.9

"""Second-order pooling: the square root of a covariance, the same in torch, numpy and OpenVINO."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.backbones.test_registry import random_member
from tests.engine.tiny_network import TINY
from training.engine.backbones import classifier, registry, square_root
from training.engine.backbones.classifier import Member
from training.engine.backbones.covariance import CovariancePooling, principal_directions
from training.engine.backbones.features import extract_features, extract_maps
from training.engine.backbones.registry import Network
from training.engine.bundle.bundle import read_description
from training.engine.bundle.saliency import Explainer
from training.engine.bundle.writer import BundleInfo, export_bundle, read_members

pytestmark = pytest.mark.slow

SIDE = 64
FAMILIES = ["ResNet-18", "MobileNetV4-Conv-S", "ConvNeXtV2-Atto", "DINOv2-ViT-S14"]


@pytest.fixture
def maps() -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(12, 12, generator=random)
    return torch.einsum("cd,ndhw->nchw", mixing, torch.randn(4, 12, 8, 8, generator=random))


@pytest.fixture
def member(tiny_network: None) -> Member:
    """A member with directions and a random head."""
    return second_order(TINY, SIDE)


def second_order(network: Network, side: int) -> Member:
    plain = replace(random_member(network, is_deep=True), resolution=side)
    found = principal_directions(extract_maps(plain, noise(8, side), 1, "cpu", ignore, range(8)), 24)
    deep = replace(plain, directions=found)
    torch.manual_seed(1)
    return replace(deep, head=classifier.Head(torch.randn(2, sum(deep.taps)) * 0.05, torch.zeros(2)))


def noise(count: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def ignore(share: float) -> None:
    """A tick that nobody asks for."""


def test_the_pooled_features_are_the_square_root_of_the_covariance(maps: torch.Tensor) -> None:
    directions = principal_directions(maps.flatten(2).numpy(), 6)
    pooled = CovariancePooling(directions)(maps).numpy()
    rows, columns = np.triu_indices(6)
    for image, features in zip(maps.flatten(2).numpy(), pooled, strict=True):
        values, vectors = np.linalg.eigh(np.cov(directions.numpy().T @ image, bias=True))
        root = (vectors * np.sqrt(values)) @ vectors.T
        expected = root[rows, columns] * np.where(rows == columns, 1, 2**0.5)
        assert features @ expected / np.linalg.norm(expected) > 0.999
        assert np.linalg.norm(features) == pytest.approx(1, abs=1e-5)


def test_brightness_and_empty_maps_change_nothing(maps: torch.Tensor) -> None:
    pooling = CovariancePooling(principal_directions(maps.flatten(2).numpy(), 6))
    assert torch.allclose(pooling(3 * maps + 1), pooling(maps), atol=1e-3)
    assert torch.allclose(pooling(torch.ones(1, 12, 8, 8)), torch.zeros(1, 21), atol=0.01)


def test_directions_are_orthogonal_and_the_first_has_the_largest_variance() -> None:
    random = np.random.default_rng(0)
    maps = random.normal(size=(3, 5, 49)) * np.array([1, 9, 1, 3, 1])[:, None]
    directions = principal_directions(maps.astype(np.float32), 2).numpy()
    assert np.allclose(directions.T @ directions, np.eye(2), atol=1e-5)
    assert np.abs(directions).argmax(axis=0).tolist() == [1, 3]


def test_a_network_of_fewer_channels_has_as_many_directions(maps: torch.Tensor) -> None:
    assert principal_directions(maps.flatten(2).numpy(), 96).shape == (12, 12)


def test_the_root_is_the_covariance_times_the_inverse_root(maps: torch.Tensor) -> None:
    covariance = np.cov(maps[0].flatten(1).numpy(), bias=True)
    root, inverse, trace = square_root.newton_schulz(covariance)
    assert np.allclose(root, covariance / trace @ inverse, atol=1e-9)


def test_weights_on_pairs_are_the_same_as_on_the_whole_matrix() -> None:
    random = np.random.default_rng(0)
    weights, matrix = random.normal(size=(2, 6)).astype(np.float32), random.normal(size=(3, 3))
    matrix = matrix + matrix.T
    pairs = matrix[np.triu_indices(3)] * square_root.pair_gains(3)
    assert np.allclose(weights @ pairs, (square_root.symmetric(weights) * matrix).sum((1, 2)), atol=1e-5)


def test_extracted_features_equal_those_of_torch(member: Member) -> None:
    pixels = noise(3)
    extracted = extract_features(member, pixels, 1, "cpu", ignore)
    with torch.inference_mode():
        expected = classifier.feature_extractor(member)(torch.from_numpy(pixels))
    assert extracted.shape == (3, sum(member.taps)) and member.taps[0] == 24 * 25 // 2
    assert torch.allclose(extracted, expected, atol=1e-4)


def assert_explains_itself(member: Member, folder: Path) -> None:
    """Places and bias add up to the logits."""
    side = member.resolution
    info = BundleInfo(("a", "b"), False, side, "second-order linear head", 1.0, (0.5, 0.5), None)
    bundle = export_bundle([member], info, folder, [], 1)
    explainer, square = Explainer.load(folder), noise(1, side)[0]
    logits, _ = bundle.logits(square)
    for label in range(2):
        whole = explainer.bias[label] + sum(float(part.sum()) for part in explainer.parts(square, label))
        assert whole == pytest.approx(float(logits[label]), abs=2e-3)


def test_a_bundle_keeps_the_directions_and_explains_itself_exactly(member: Member, tmp_path: Path) -> None:
    assert_explains_itself(member, tmp_path / "bundle")
    (read,) = read_members(tmp_path / "bundle")
    assert read.directions is not None and member.directions is not None
    assert torch.equal(read.directions, member.directions)
    assert read_description(tmp_path / "bundle")["format_version"] == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_of_every_family_have_a_covariance(name: str, tmp_path: Path) -> None:
    member = second_order(registry.get_network(name), 112)
    assert_explains_itself(member, tmp_path / "bundle")


def test_other_bundles_stay_readable_for_earlier_releases(tiny_network: None, tmp_path: Path) -> None:
    info = BundleInfo(("a", "b"), False, SIDE, "linear head", 1.0, (0.5, 0.5), None)
    export_bundle([random_member(TINY, is_deep=True)], info, tmp_path / "bundle", [], 1)
    assert read_description(tmp_path / "bundle")["format_version"] == 1

"""The INT8 network of a bundle, made of networks with random weights: files, self-test, sums, multi-label."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.engine.generated_images import Diary, make_samples, quick_config
from tests.engine.tiny_network import TINY, random_network
from training.engine import EngineError
from training.engine.backbones.classifier import CLASSIFIER_PREFIXES, Head, Member
from training.engine.backbones.covariance import principal_directions
from training.engine.backbones.features import extract_maps
from training.engine.bundle import quantization
from training.engine.bundle.bundle import Bundle, self_test_squares
from training.engine.bundle.writer import BundleInfo, export_bundle
from training.engine.data.images import Pixels
from training.engine.fit import fit

pytestmark = pytest.mark.slow

LABELS = ("a", "b", "c")


def squares(count: int = 12, side: int = 96) -> list[Pixels]:
    """Waves of random direction and colour."""
    random = np.random.default_rng(1)
    places = np.linspace(0, 9, side)
    found = []
    for _ in range(count):
        turn, colour = random.uniform(-1, 1, 2), random.uniform(0.3, 1, 3)
        wave = 0.5 + 0.5 * np.sin(turn[0] * places[:, None] + turn[1] * places + random.uniform(0, 6))
        found.append((255 * wave[..., None] * colour).astype(np.uint8))
    return found


def member(seed: int, resolution: int, is_deep: bool = False) -> Member:
    torch.manual_seed(seed)
    state = {
        name: tensor
        for name, tensor in random_network(TINY, seed).state_dict().items()
        if not name.startswith(CLASSIFIER_PREFIXES)
    }
    blank = Member(TINY, resolution, state, Head(torch.zeros(1, 1), torch.zeros(1)), is_deep)
    head = Head(torch.randn(len(LABELS), sum(blank.taps)), torch.zeros(len(LABELS)))
    return Member(TINY, resolution, state, head, is_deep)


def export(folder: Path, members: list[Member], is_multi_label: bool = False) -> Path:
    info = BundleInfo(LABELS, is_multi_label, 96, "linear head", 2.0, (0.5,) * len(LABELS), None)
    export_bundle(members, info, folder / "bundle", [], 1)
    return folder / "bundle"


def largest_difference(bundle: Path) -> float:
    exact, small = (Bundle.load(bundle, 1, number_format=name) for name in ("float32", "int8"))
    return max(
        float(np.abs(exact.predict_square(one) - small.predict_square(one)).max()) for one in squares(20)
    )


def test_a_covariance_is_not_quantized(tiny_network: None, tmp_path: Path) -> None:
    plain = member(0, 64, is_deep=True)
    maps = extract_maps(plain, np.stack(squares(8)), 1, "cpu", lambda share: None, range(8))
    blank = replace(plain, directions=principal_directions(maps, 24))
    head = Head(torch.randn(len(LABELS), sum(blank.taps)), torch.zeros(len(LABELS)))
    bundle = export(tmp_path, [replace(blank, head=head)])
    quantization.add_int8(bundle, squares(8), 1)
    nodes = onnx.load(bundle / "model.int8.onnx").graph.node
    names = [node.name for node in nodes if "Quantize" in node.op_type]
    assert names and not [name for name in names if quantization.COVARIANCE in name]
    assert largest_difference(bundle) < 0.15


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_a_sum_of_networks_is_quantized(tiny_network: None, tmp_path: Path, is_multi_label: bool) -> None:
    bundle = export(tmp_path, [member(0, 64), member(1, 96, is_deep=True)], is_multi_label)

    quantization.add_int8(bundle, squares(), 1)

    assert 0 < largest_difference(bundle) < 0.2
    small = Bundle.load(bundle, 1, number_format="int8")
    small.self_test()
    assert small.number_format == "int8"
    entry = json.loads((bundle / "bundle.json").read_text())["int8"]
    assert entry["calibration_images"] == 12
    assert (
        entry["bytes"] == (bundle / "model.int8.onnx").stat().st_size < (bundle / "model.onnx").stat().st_size
    )
    assert entry["parity"]["images"] == 12
    assert {path.name for path in bundle.iterdir()} == {
        "bundle.json",
        "model.int8.onnx",
        "model.onnx",
        "weights.pt",
    }


def test_the_bundle_answers_in_float32_until_int8_is_its_default(tiny_network: None, tmp_path: Path) -> None:
    bundle = export(tmp_path, [member(0, 64)])
    quantization.add_int8(bundle, squares(), 1)
    assert Bundle.load(bundle).number_format == "float32"

    quantization.set_default_number_format(bundle, "int8")

    assert Bundle.load(bundle).number_format == "int8"
    Bundle.load(bundle).self_test()
    Bundle.load(bundle, number_format="float32").self_test()


def test_onnx_runtime_reads_it_too(tiny_network: None, tmp_path: Path) -> None:
    bundle = export(tmp_path, [member(0, 64)])
    quantization.add_int8(bundle, squares(), 1)
    session = onnxruntime.InferenceSession(str(bundle / "model.int8.onnx"))
    small = Bundle.load(bundle, 1, number_format="int8")

    for square in self_test_squares(64):
        logits = session.run(["logits"], {"images_64": square[None]})[0][0]
        assert np.abs(logits - small.logits(square)[0]).max() < 0.05 * np.abs(logits).max()


def test_a_tick_that_raises_leaves_the_bundle_as_it_was(tiny_network: None, tmp_path: Path) -> None:
    bundle = export(tmp_path, [member(0, 64)])
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    calls = iter(range(5))

    def tick() -> None:
        if next(calls, None) is None:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        quantization.add_int8(bundle, squares(), 1, tick)

    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_a_bundle_without_int8_says_so(tiny_network: None, tmp_path: Path) -> None:
    bundle = export(tmp_path, [member(0, 64)])

    with pytest.raises(EngineError, match="no INT8 network"):
        Bundle.load(bundle, number_format="int8")
    assert Bundle.load(bundle, number_format="bfloat16").number_format == "bfloat16"


def test_a_fit_with_time_left_calibrates_on_its_training_images(tiny_network: None, tmp_path: Path) -> None:
    samples, diary = make_samples(tmp_path / "pictures"), Diary()
    config = quick_config(max_seconds=600)

    result = fit(samples, config, tmp_path / "work", diary, lambda: False)

    assert result.stop_reason == "converged"
    description = json.loads((result.bundle / "bundle.json").read_text())
    assert description["int8"]["calibration_images"] == sum(one.split == "TRAIN" for one in samples)
    assert description.get("number_format", "float32") == "float32"
    Bundle.load(result.bundle, 1, number_format="int8").self_test()


def test_a_fit_that_a_person_ends_makes_none(tiny_network: None, tmp_path: Path) -> None:
    diary = Diary(stop_after="best")

    result = fit(
        make_samples(tmp_path / "pictures"), quick_config(), tmp_path / "work", diary, diary.should_stop
    )

    assert not (result.bundle / "model.int8.onnx").exists()

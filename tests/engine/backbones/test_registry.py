"""Networks beyond the packaged ones: found on disk, taken apart, trained, exported. With random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.generated_images import Diary, make_samples, quick_config
from tests.engine.tiny_network import random_network
from training.engine import EngineError, cli
from training.engine.backbones import classifier, latency, registry, weights
from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.fused import TrainableBackbone
from training.engine.backbones.registry import Network
from training.engine.backbones.timm_loader import load_timm
from training.engine.backbones.trunk import Trunk
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.saliency import Explainer
from training.engine.bundle.writer import BundleInfo, export_bundle
from training.engine.data.augment import Strength
from training.engine.fit import fit
from training.engine.search import finetune

pytestmark = pytest.mark.slow

LOOSE = [one for one in registry.NETWORKS if not one.package]
RESNET = registry.get_network("ResNet-18")
FAMILIES = [RESNET, registry.get_network("EfficientNetV2-B3")]
SIDE = 64


def write(network: Network, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = random_network(network).state_dict()
    if name.endswith(".safetensors"):
        from safetensors.torch import save_file

        save_file(state, folder / name)
    else:
        torch.save(state, folder / name)
    return folder / name


def random_member(network: Network, side: int = SIDE, is_deep: bool = False) -> Member:
    state = {
        n: one
        for n, one in random_network(network).state_dict().items()
        if not n.startswith(classifier.CLASSIFIER_PREFIXES)
    }
    member = Member(network, side, state, Head(torch.zeros(2, 1), torch.zeros(2)), is_deep)
    torch.manual_seed(1)
    return replace(member, head=Head(torch.randn(2, sum(member.taps)) * 0.05, torch.zeros(2)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's folder of weights."""
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


# --- facts ---


@pytest.mark.parametrize("network", registry.NETWORKS, ids=lambda one: one.name)
def test_the_facts_of_the_catalogue_are_those_of_the_network(network: Network) -> None:
    net = load_timm().create_model(network.timm_name, pretrained=False)
    assert sum(one.numel() for one in net.parameters()) == network.parameters
    found = {"macs": 0, "bytes": 0, "layers": 0}

    def count(layer: nn.Conv2d, taken: tuple[Tensor], given: Tensor) -> None:
        found["macs"] += given.numel() * layer.weight[0].numel()
        found["bytes"] += 4 * (taken[0].numel() + given.numel() + layer.weight.numel())
        found["layers"] += 1

    trunk = Trunk(net.eval(), network)
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        x, widths = trunk.stem(torch.zeros(1, 3, network.resolution, network.resolution)), []
        for number, stage in enumerate(trunk.stages, 1):
            x = stage(x)
            widths.append(x.shape[1])
            if number == network.frozen_stages:
                assert x.shape[2] == -(-network.resolution // 8)
        assert trunk.tail(x).shape[1] == network.features
    assert tuple(widths) == network.stages
    assert found == {"macs": network.macs, "bytes": network.bytes_moved, "layers": network.layers}


@pytest.mark.parametrize("network", LOOSE, ids=lambda one: one.name)
def test_the_hub_s_name_and_the_scaling_are_timm_s(network: Network) -> None:
    known = load_timm().models.get_pretrained_cfg(network.timm_name)
    assert Path(known.url or "").name == network.hub_file
    assert (known.mean, known.std) == (network.mean, network.std)


@pytest.mark.parametrize("network", FAMILIES, ids=lambda one: one.name)
def test_features_are_those_of_timm_for_pictures_that_are_scaled_its_way(network: Network) -> None:
    member = random_member(network)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8))
    mean, std = (torch.tensor(one)[:, None, None] for one in (network.mean, network.std))
    with torch.inference_mode():
        expected = classifier.build_backbone(network, member.state)(
            (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        )
        assert torch.allclose(classifier.feature_extractor(member)(pixels), expected, atol=1e-4, rtol=1e-3)
        deep = classifier.feature_extractor(replace(member, is_deep=True))(pixels)
        assert deep.shape == (2, sum(network.taps))
        assert torch.allclose(deep[:, -network.features :], expected, atol=1e-4, rtol=1e-3)
        trained = TrainableBackbone(network, member.state, "cpu")(classifier.to_network_input(pixels))
        assert torch.allclose(trained, expected, atol=1e-3, rtol=1e-2)


# --- where weights lie ---


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        (weights.FOLDER_VARIABLE, "resnet18.tv_in1k.pth"),
        (weights.FOLDER_VARIABLE, "resnet18.tv_in1k.safetensors"),
        ("HF_HOME", "hub/models--timm--resnet18.tv_in1k/snapshots/0a1b/model.safetensors"),
        ("HF_HUB_CACHE", "models--timm--resnet18.tv_in1k/snapshots/0a1b/model.safetensors"),
        ("TORCH_HOME", "hub/checkpoints/resnet18-f37072fd.pth"),
        ("XDG_CACHE_HOME", "torch/hub/checkpoints/resnet18-f37072fd.pth"),
    ],
)
def test_weights_are_found_where_people_and_libraries_put_them(
    variable: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (weights.FOLDER_VARIABLE, "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(variable, str(tmp_path))
    assert RESNET not in registry.available_networks()
    with pytest.raises(EngineError, match=r"ResNet-18 are not on this machine.*--fetch ResNet-18"):
        classifier.pretrained_state(RESNET)
    file = write(RESNET, (tmp_path / path).parent, Path(path).name)
    assert RESNET.weights_file() == file
    assert RESNET in registry.available_networks()
    state, expected = classifier.pretrained_state(RESNET), random_network(RESNET).state_dict()
    assert not {"fc.weight", "fc.bias"} & state.keys()
    assert all(torch.equal(one, expected[name]) for name, one in state.items())


def test_packaged_networks_are_always_expected(folder: Path) -> None:
    assert [one.name for one in registry.available_networks()] == [
        one.name for one in registry.NETWORKS if one.package
    ]


def test_a_file_of_another_network_or_none_is_refused_by_name(folder: Path) -> None:
    write(registry.get_network("ResNet-50"), folder, "resnet18.tv_in1k.pth")
    with pytest.raises(EngineError, match=r"resnet18\.tv_in1k\.pth are not those of ResNet-18"):
        classifier.pretrained_state(RESNET)
    (folder / "resnet18.tv_in1k.pth").write_bytes(b"half a downlo")
    with pytest.raises(EngineError, match=r"resnet18\.tv_in1k\.pth cannot be read"):
        classifier.pretrained_state(RESNET)


def test_the_command_tells_where_weights_lie(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(RESNET, folder, "resnet18.tv_in1k.pth")
    assert cli.main(["networks", "--json"]) == 0
    files = {one["name"]: one["file"] for one in json.loads(capsys.readouterr().out)["networks"]}
    assert files["ResNet-18"] == str(file)
    assert files["ResNet-50"] is None
    assert files["EfficientNet-Lite0"].endswith(".pth")
    assert cli.main(["networks"]) == 0
    assert "not on this machine" in capsys.readouterr().out


def test_fetching_without_a_connection_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert cli.main(["networks", "--fetch", "EfficientNetV2-B3"]) == 1
    told = capsys.readouterr().err
    assert "cannot be fetched" in told and f"the folder in {weights.FOLDER_VARIABLE}." in told
    assert cli.main(["networks", "--fetch", "AlexNet"]) == 1
    assert "AlexNet is not known" in capsys.readouterr().err


# --- what is done with them ---


@pytest.mark.parametrize("network", FAMILIES, ids=lambda one: one.name)
def test_they_are_exported_and_taken_apart_by_place(network: Network, tmp_path: Path) -> None:
    identity = BundleInfo(("a", "b"), False, SIDE, "linear head", 1.0, (0.5, 0.5), None)
    bundle = export_bundle([random_member(network, is_deep=True)], identity, tmp_path / "bundle", [], 1)
    assert bundle.description["parity"]["same_top1"]
    square = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    explainer = Explainer.load(tmp_path / "bundle")
    whole = explainer.bias[0] + sum(float(part.sum()) for part in explainer.parts(square, 0))
    assert whole == pytest.approx(float(bundle.logits(square)[0].reshape(-1)[0]), abs=1e-2)


@pytest.mark.parametrize("network", FAMILIES, ids=lambda one: one.name)
def test_last_blocks_and_whole_networks_are_trained(network: Network) -> None:
    member = random_member(network)
    squares = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3)).astype(np.uint8)
    targets = np.eye(2, dtype=np.float32)[np.arange(4) % 2]

    def changed(plan: finetune.FinetunePlan) -> set[str]:
        job = finetune.FinetuneJob(
            member,
            plan,
            squares,
            targets,
            np.ones(4),
            np.arange(4),
            is_multi_label=False,
            seed=0,
            device="cpu",
        )
        tuned = finetune.fine_tune(job, lambda share: None)
        assert tuned.state.keys() == member.state.keys()
        return {one for one in tuned.state if not torch.equal(tuned.state[one], member.state[one])}

    whole = changed(finetune.FinetunePlan(1, batch=4))
    last = changed(finetune.last_blocks_plan(1, 1, Strength(), 4, network.frozen_stages))
    parameters = {one for one, _ in classifier.build_backbone(network, member.state).named_parameters()}
    assert whole == parameters
    first = ("conv1", "bn1", "layer1", "layer2", "conv_stem", "blocks.0", "blocks.1", "blocks.2")
    assert last == {one for one in parameters if not one.startswith(first)}


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_fit_tries_a_network_that_was_found_and_leaves_a_broken_one_out(
    is_broken: bool, folder: Path, tmp_path: Path
) -> None:
    file = write(RESNET, folder, "resnet18.tv_in1k.pth")
    if is_broken:
        file.write_bytes(b"half a downlo")
    lite = registry.get_network("EfficientNet-Lite0")
    limit = latency.estimate_ms(RESNET, RESNET.resolution, "NV_P4") + 0.01  # Lite0 takes less, others more
    samples, diary = make_samples(tmp_path / "pictures"), Diary()

    def has_tried_both() -> bool:
        return len({event.candidate.network for event in diary.events if event.candidate}) == 2

    config = quick_config(max_seconds=240, max_inference_ms=limit)
    result = fit(samples, config, tmp_path / "fit", diary, has_tried_both)
    found = {one.network: one for one in result.candidates}
    assert found[lite.name].accuracy is not None
    assert (found["ResNet-18"].accuracy is None) == is_broken
    assert ("resnet18.tv_in1k.pth cannot be read" in found["ResNet-18"].error) == is_broken
    assert Bundle.load(result.bundle).labels == ("blue", "red")


def test_a_base_s_network_whose_weights_are_not_here_is_left_out(folder: Path, tmp_path: Path) -> None:
    identity = BundleInfo(("blue", "red"), False, SIDE, "fine-tuned", 1.0, (0.5, 0.5), None)
    export_bundle([random_member(RESNET)], identity, tmp_path / "base", [], 1)
    samples, diary = make_samples(tmp_path / "pictures"), Diary("best")
    config = quick_config(base_bundle=tmp_path / "base")
    result = fit(samples, config, tmp_path / "fit", diary, diary.should_stop)
    left_out, used = result.candidates
    assert left_out.network == "ResNet-18" and "are not on this machine" in left_out.error
    assert used.is_best and used.network == "EfficientNet-Lite0"

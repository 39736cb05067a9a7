"""Networks beyond the packaged ones: found on disk, taken apart, trained, exported. With random weights."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
DINO, DINO_REG4 = registry.get_network("DINOv2-ViT-S14"), registry.get_network("DINOv2-ViT-S14-reg4")
CONVNEXT = registry.get_network("ConvNeXtV2-Atto")
HYBRID = registry.get_network("MobileNetV4-Hybrid-M")
FAMILIES = [
    RESNET,
    registry.get_network("EfficientNetV2-B3"),
    registry.get_network("MobileNetV4-Conv-S"),
    HYBRID,
    CONVNEXT,
    DINO,
    DINO_REG4,
]


WITH_SIZES = [*FAMILIES, *map(registry.get_network, ("MobileNetV4-Conv-M", "ConvNeXtV2-Pico"))]


def write(network: Network, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = random_network(network).state_dict()
    if name.endswith(".safetensors"):
        from safetensors.torch import save_file

        save_file(state, folder / name)
    else:
        torch.save(state, folder / name)
    return folder / name


def side_of(network: Network) -> int:
    """A small size. At 64 pixels OpenVINO is wrong about the hybrid's attention between four places."""
    return 5 * network.multiple if network.prefix_tokens else 96 if network is HYBRID else 64


def random_member(network: Network, is_deep: bool = False, labels: int = 2) -> Member:
    state = {
        n: one
        for n, one in random_network(network).state_dict().items()
        if not n.startswith(classifier.CLASSIFIER_PREFIXES)
    }
    member = Member(network, side_of(network), state, Head(torch.zeros(2, 1), torch.zeros(2)), is_deep)
    torch.manual_seed(1)
    weight = torch.randn(labels, sum(member.taps)) * 0.05
    return replace(member, head=Head(weight, torch.zeros(labels)))


def random_squares(network: Network, count: int) -> NDArray[np.uint8]:
    side = side_of(network)
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def expected_features(network: Network, state: dict[str, Tensor], images: Tensor) -> Tensor:
    """timm's own pooled features; of a transformer the mean of the patches and the class token.

    MobileNetV4's layer behind the pooling belongs to its classifier.
    """
    options = {"dynamic_img_size": True} if network.prefix_tokens else {}
    net = load_timm().create_model(network.timm_name, pretrained=False, num_classes=0, **options).eval()
    net.load_state_dict(state)
    if network.prefix_tokens:
        tokens = net.forward_features(images)
        return torch.cat([tokens[:, network.prefix_tokens :].mean(1), tokens[:, 0]], 1)
    if network.name.startswith("MobileNetV4"):
        return net.forward_features(images).mean((2, 3))
    return net(images)


class Operations(TorchFunctionMode):
    """Counts what has no layer of its own: attention (two products and a softmax) and layer norms."""

    def __init__(self, found: dict[str, int]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        if func is nn.functional.layer_norm:
            self.found["bytes"] += 8 * given.numel()
            self.found["layers"] += 1
        if func is nn.functional.scaled_dot_product_attention:
            query, key, value = args[:3]
            scores = query.shape[:-1].numel() * key.shape[-2]  # written and read twice each
            self.found["macs"] += scores * (query.shape[-1] + value.shape[-1])
            tensors = (query, key, value, given)
            self.found["bytes"] += 4 * (sum(tensor.numel() for tensor in tensors) + 4 * scores)
            self.found["layers"] += 3
        return given


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

    def count(layer: nn.Conv2d | nn.Linear, taken: tuple[Tensor], given: Tensor) -> None:
        found["macs"] += given.numel() * layer.weight[0].numel()
        found["bytes"] += 4 * (taken[0].numel() + given.numel() + layer.weight.numel())
        found["layers"] += 1

    trunk = Trunk(net.eval(), network, network.resolution)
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.inference_mode(), Operations(found):
        x, widths = trunk.stem(torch.zeros(1, 3, network.resolution, network.resolution)), []
        for number, stage in enumerate(trunk.stages, 1):
            x = stage(x)
            widths.append(x.shape[1])
            if number == network.frozen_stages:
                side = -(-network.resolution // network.frozen_stride)
                assert x[0, 0].numel() == side * side + network.prefix_tokens
        assert trunk.tail(x).shape[1] == network.features
    assert tuple(widths) == network.stages
    assert found == {"macs": network.macs, "bytes": network.bytes_moved, "layers": network.layers}


@pytest.mark.parametrize("network", LOOSE, ids=lambda one: one.name)
def test_the_file_s_name_the_scaling_and_the_licence_are_timm_s(network: Network) -> None:
    known = load_timm().models.get_pretrained_cfg(network.timm_name)
    assert Path(known.url or "").name == network.hub_file
    assert (known.mean, known.std) == (network.mean, network.std)
    assert known.license == network.licence.lower()


def test_only_convnext_v2_forbids_commercial_use() -> None:
    found = [one.name for one in registry.NETWORKS if one.is_noncommercial]
    assert found == ["ConvNeXtV2-Atto", "ConvNeXtV2-Pico"]


@pytest.mark.parametrize("network", WITH_SIZES, ids=lambda one: one.name)
def test_features_are_those_of_timm_for_pictures_that_are_scaled_its_way(network: Network) -> None:
    member = random_member(network)
    pixels = torch.from_numpy(random_squares(network, 2))
    mean, std = (torch.tensor(one)[:, None, None] for one in (network.mean, network.std))
    with torch.inference_mode():
        images = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        expected = expected_features(network, member.state, images)
        assert torch.allclose(classifier.feature_extractor(member)(pixels), expected, atol=1e-4, rtol=1e-3)
        deep = classifier.feature_extractor(replace(member, is_deep=True))(pixels)
        assert deep.shape == (2, sum(network.taps))
        assert torch.allclose(deep[:, -network.features :], expected, atol=1e-4, rtol=1e-3)
        images = classifier.to_network_input(pixels)
        whole = TrainableBackbone(network, member.resolution, member.state, "cpu")
        assert torch.allclose(whole(images), expected, atol=1e-3, rtol=1e-2)
        frozen = network.frozen_stages
        last = TrainableBackbone(network, member.resolution, member.state, "cpu", frozen)
        assert torch.allclose(last(last.maps(images)), expected, atol=1e-3, rtol=1e-2)


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
    write(DINO, folder, f"{DINO_REG4.timm_name}.pth")
    with pytest.raises(EngineError, match=r"are not those of DINOv2-ViT-S14-reg4"):
        classifier.pretrained_state(DINO_REG4)
    (folder / "resnet18.tv_in1k.pth").write_bytes(b"half a downlo")
    with pytest.raises(EngineError, match=r"resnet18\.tv_in1k\.pth cannot be read"):
        classifier.pretrained_state(RESNET)


def test_files_of_the_authors_are_read_by_timm_s_names(folder: Path) -> None:
    folder.mkdir()
    dino, convnext = random_network(DINO_REG4).state_dict(), random_network(CONVNEXT).state_dict()
    torch.save(in_names_of_dino(dino), folder / DINO_REG4.hub_file)
    torch.save({"model": in_names_of_convnext(convnext)}, folder / CONVNEXT.hub_file)
    for network, expected in ((DINO_REG4, dino), (CONVNEXT, convnext)):
        state = classifier.pretrained_state(network)
        assert state.keys() == {one for one in expected if not one.startswith(classifier.CLASSIFIER_PREFIXES)}
        assert all(torch.equal(one, expected[name]) for name, one in state.items())


def in_names_of_dino(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Meta's file has a position for the class token, and knows registers by another name."""
    kept = {name: one for name, one in state.items() if not name.startswith(("head", "reg_token"))}
    places = torch.cat([torch.zeros(1, 1, 384), state["pos_embed"]], 1)
    more = {"pos_embed": places, "register_tokens": state["reg_token"], "mask_token": torch.zeros(1, 384)}
    return kept | more


def in_names_of_convnext(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Meta's file has linear layers where timm has convolutions of one place."""
    renamed = {}
    for name, tensor in state.items():
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv").replace("head.norm", "norm")
        name = re.sub(r"^stem\.", "downsample_layers.0.", name.replace("head.fc", "head"))
        name = re.sub(r"stages\.(\d)\.downsample", r"downsample_layers.\1", name.replace(".blocks", ""))
        if "mlp.grn" in name:
            name = name.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
            tensor = tensor[None, None, None]
        renamed[name] = tensor[:, :, 0, 0] if "pwconv" in name and tensor.ndim == 4 else tensor
    return renamed


def test_the_command_tells_where_weights_lie(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(RESNET, folder, "resnet18.tv_in1k.pth")
    assert cli.main(["networks", "--json"]) == 0
    files = {one["name"]: one["file"] for one in json.loads(capsys.readouterr().out)["networks"]}
    assert files["ResNet-18"] == str(file)
    assert files["ResNet-50"] is None
    assert files["EfficientNet-Lite0"].endswith(".pth")
    assert cli.main(["networks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("not on this machine: vit_small_patch14_dinov2.lvd142m.safetensors" in one for one in lines)
    licensed = [one.split()[0] for one in lines if "CC-BY-NC-4.0 (not for commercial use)" in one]
    assert licensed == ["ConvNeXtV2-Atto", "ConvNeXtV2-Pico"]


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
    # Five labels: a transformer's position embeddings for 5 x 5 patches are a product with five columns, too.
    member, labels = random_member(network, is_deep=True, labels=5), tuple("abcde")
    identity = BundleInfo(labels, False, side_of(network), "linear head", 1.0, (0.5,) * 5, None)
    bundle = export_bundle([member], identity, tmp_path / "bundle", [], 1)
    assert bundle.description["parity"]["same_top1"]
    square = random_squares(network, 1)[0]
    explainer = Explainer.load(tmp_path / "bundle")
    whole = explainer.bias[0] + sum(float(part.sum()) for part in explainer.parts(square, 0))
    assert whole == pytest.approx(float(bundle.logits(square)[0].reshape(-1)[0]), abs=1e-2)


@pytest.mark.parametrize("network", FAMILIES, ids=lambda one: one.name)
def test_last_blocks_and_whole_networks_are_trained(network: Network) -> None:
    member = random_member(network)
    squares = random_squares(network, 4)
    targets = np.eye(2, dtype=np.float32)[np.arange(4) % 2]

    def make_job(plan: finetune.FinetunePlan) -> finetune.FinetuneJob:
        rows, weights = np.arange(4), np.ones(4)
        return finetune.FinetuneJob(
            member, plan, squares, targets, weights, rows, is_multi_label=False, seed=0, device="cpu"
        )

    def changed(plan: finetune.FinetunePlan) -> set[str]:
        tuned = finetune.fine_tune(make_job(plan), lambda share: None)
        assert tuned.state.keys() == member.state.keys()
        return {one for one in tuned.state if not torch.equal(tuned.state[one], member.state[one])}

    whole = changed(finetune.FinetunePlan(1, batch=4))
    plan = finetune.last_blocks_plan(1, 1, Strength(), 4, network.frozen_stages)
    last = changed(plan)
    parameters = {one for one, _ in classifier.build_backbone(network, member.state).named_parameters()}
    assert whole == {one for one in parameters if not is_unused(network, one)}
    assert last == {one for one in whole if not is_frozen(network, one)}
    maps = finetune._Model(make_job(plan)).maps(torch.zeros(1, 3, member.resolution, member.resolution))
    assert finetune.view_cache_bytes(member, plan, "cpu") == maps.nbytes


def is_unused(network: Network, name: str) -> bool:
    return network.name.startswith("MobileNetV4") and name.startswith(("conv_head.", "norm_head."))


def is_frozen(network: Network, name: str) -> bool:
    """Whether the parameter belongs to the stem or to the first stages."""
    first = {
        "EfficientNet": ("conv_stem", "bn1", "blocks.0.", "blocks.1.", "blocks.2."),
        "MobileNetV4": ("conv_stem", "bn1", "blocks.0.", "blocks.1."),
        "ResNet": ("conv1", "bn1", "layer1", "layer2"),
        "ConvNeXt": ("stem", "stages.0.", "stages.1."),
        "DINOv2": ("cls_token", "reg_token", "pos_embed", "patch_embed", *(f"blocks.{n}." for n in range(9))),
    }
    return name.startswith(next(names for family, names in first.items() if network.name.startswith(family)))


@pytest.mark.usefixtures("no_int8")
@pytest.mark.parametrize(("network", "is_broken"), [(RESNET, False), (RESNET, True), (DINO, False)])
def test_a_fit_tries_a_network_that_was_found_and_leaves_a_broken_one_out(
    network: Network, is_broken: bool, folder: Path, tmp_path: Path
) -> None:
    file = write(network, folder, f"{network.timm_name}.pth")
    if is_broken:
        file.write_bytes(b"half a downlo")
    lite = registry.get_network("EfficientNet-Lite0")
    # Lite0 takes less and is tried first, then the slowest within the limit.
    limit = latency.estimate_ms(network, network.resolution, "NV_P4") + 0.01
    samples, diary = make_samples(tmp_path / "pictures"), Diary()

    def has_tried_both() -> bool:
        return len({event.candidate.network for event in diary.events if event.candidate}) == 2

    config = quick_config(max_seconds=2400, max_inference_ms=limit)
    result = fit(samples, config, tmp_path / "fit", diary, has_tried_both)
    found = {one.network: one for one in result.candidates}
    assert found[lite.name].accuracy is not None
    assert (found[network.name].accuracy is None) == is_broken
    assert (f"{network.timm_name}.pth cannot be read" in found[network.name].error) == is_broken
    assert Bundle.load(result.bundle).labels == ("blue", "red")


@pytest.mark.usefixtures("no_int8")
def test_a_base_s_network_whose_weights_are_not_here_is_left_out(folder: Path, tmp_path: Path) -> None:
    identity = BundleInfo(("blue", "red"), False, 64, "fine-tuned", 1.0, (0.5, 0.5), None)
    export_bundle([random_member(RESNET)], identity, tmp_path / "base", [], 1)
    samples, diary = make_samples(tmp_path / "pictures"), Diary("best")
    config = quick_config(base_bundle=tmp_path / "base")
    result = fit(samples, config, tmp_path / "fit", diary, diary.should_stop)
    left_out, used = result.candidates
    assert left_out.network == "ResNet-18" and "are not on this machine" in left_out.error
    assert used.is_best and used.network == "EfficientNet-Lite0"

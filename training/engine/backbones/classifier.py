"""Pretrained backbones, and the form that every model here takes: a sum of linear heads.

logits(x) = sum over members of  W_m · backbone_m(x) + b_m

A single network is one member. A head over several networks' features side by side is the same sum,
and so is an average of models. That keeps export, latency and incremental training to one case.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from training.engine.backbones import weights
from training.engine.backbones.covariance import CovariancePooling, covariance_columns
from training.engine.backbones.registry import Network
from training.engine.backbones.timm_loader import load_timm
from training.engine.backbones.trunk import Trunk
from training.engine.config import EngineError

StateDict = dict[str, Tensor]
# The classifiers of timm's networks, which are not used.
CLASSIFIER_PREFIXES = ("classifier.", "fc.", "head.fc.", "head.weight", "head.bias")


@dataclass(frozen=True, slots=True)
class Head:
    """weight [C, F] and bias [C] on raw features."""

    weight: Tensor
    bias: Tensor

    def scaled(self, factor: float) -> Head:
        return Head(self.weight * factor, self.bias * factor)


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a model, with its weights, its input size and its share of the logits.

    `is_deep`: the head reads features of every stage, not only of the last one (Head2Toe, Evci et al. 2022),
    which helps most where images are unlike those of the pretraining. With `directions` [C, K] of the last
    stage's channels a deep head also reads their covariance (covariance.py). `is_from_base`: its weights come
    from the base bundle, which has been trained on other images too.
    """

    network: Network
    resolution: int
    state: StateDict
    head: Head
    is_deep: bool = False
    is_from_base: bool = False
    directions: Tensor | None = None

    @property
    def taps(self) -> tuple[int, ...]:
        """Numbers of features in each block that the head reads, in order."""
        if not self.is_deep:
            return (self.network.features,)
        if self.directions is None:
            return self.network.taps
        return (covariance_columns(self.directions.shape[1]), *self.network.taps)

    @property
    def plain(self) -> Member:
        """The member with a head on the last stage's features alone."""
        return replace(self, is_deep=False, directions=None)


class FeatureExtractor(nn.Module):
    """[N, R, R, 3] uint8 pixels to [N, F] pooled features; scaling to [-1, 1] is inside.

    Deep features begin with the covariance of the last stage, where there are `directions`, and the mean and
    maximum of each stage; they end with the plain ones.
    """

    def __init__(self, trunk: Trunk, is_deep: bool = False, directions: Tensor | None = None) -> None:
        super().__init__()
        self.trunk, self.is_deep = trunk, is_deep
        self.covariance = CovariancePooling(directions) if is_deep and directions is not None else None

    def forward(self, pixels: Tensor) -> Tensor:
        x, pooled = self.trunk.stem(to_network_input(pixels)), list[Tensor]()
        for number, stage in enumerate(self.trunk.stages):
            x = stage(x)
            if self.is_deep and number:
                places = self.trunk.to_map(x)
                pooled += [places.mean((2, 3)), places.amax((2, 3))]
        if self.covariance is not None:
            pooled.insert(0, self.covariance(self.trunk.to_map(x)))
        x = self.trunk.tail(x)
        if not self.is_deep:
            return cast(Tensor, x.mean((2, 3)))
        return torch.cat([*pooled, x.amax((2, 3)), x.mean((2, 3))], dim=1)


class Ensemble(nn.Module):
    """The module to export: one input per resolution; gives logits [N, C] and features [N, F]."""

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__()
        self.sizes = resolutions_of(members)
        self.inputs = [self.sizes.index(member.resolution) for member in members]
        self.backbones = nn.ModuleList([feature_extractor(member) for member in members])
        self.heads = nn.ModuleList([_linear_layer(member.head) for member in members])

    def forward(self, *pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = [net(pixels[i]) for net, i in zip(self.backbones, self.inputs, strict=True)]
        parts = [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        return torch.stack(parts).sum(dim=0), torch.cat(features, dim=1)


def feature_extractor(member: Member) -> FeatureExtractor:
    """A member's network with its weights, in evaluation mode."""
    backbone = build_backbone(member.network, member.state)
    trunk = Trunk(backbone, member.network, member.resolution)
    return FeatureExtractor(trunk, member.is_deep, member.directions).eval()


class LastStage(nn.Module):
    """[N, R, R, 3] uint8 pixels to the last stage's map [N, C h w], places last."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.trunk.stem(to_network_input(pixels))
        for stage in self.trunk.stages:
            x = stage(x)
        return cast(Tensor, self.trunk.to_map(x).flatten(1))


def last_stage(member: Member) -> LastStage:
    """The part of a member's network that ends with the map whose covariance is pooled."""
    backbone = build_backbone(member.network, member.state)
    return LastStage(Trunk(backbone, member.network, member.resolution)).eval()


def to_network_input(pixels: Tensor) -> Tensor:
    """[N, R, R, 3] uint8 to [N, 3, R, R] float in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def resolutions_of(members: Sequence[Member]) -> list[int]:
    """The input sizes of a model, ascending, each once."""
    return sorted({member.resolution for member in members})


def pretrained_state(network: Network) -> StateDict:
    """The backbone's pretrained weights, by timm's names, without the classifier.

    Raises EngineError where they are missing or are not this network's.
    """
    state = packaged_state(network) if network.package else _stored_state(network)
    return {name: tensor for name, tensor in state.items() if not name.startswith(CLASSIFIER_PREFIXES)}


def packaged_state(network: Network) -> StateDict:
    """All weights of the network's package, by timm's names. Raises EngineError where they are missing.

    The packages' tensors have other names, but the same order as timm's.
    """
    file = network.weights_file()
    if file is None:
        raise EngineError(
            f"The pretrained weights of {network.name} are missing.",
            f"Install the package {network.package}.",
        )
    names = load_timm().create_model(network.timm_name, pretrained=False).state_dict()
    return dict(zip(names, weights.load_tensors(file).values(), strict=True))


def _stored_state(network: Network) -> StateDict:
    """All weights of a network from a file on disk. Raises EngineError where it is missing or another's."""
    file = network.weights_file()
    if file is None:
        raise EngineError(
            f"The pretrained weights of {network.name} are not on this machine.",
            f'Fetch them with "python -m training.engine networks --fetch {network.name}".',
        )
    backbone = load_timm().create_model(network.timm_name, pretrained=False, num_classes=0)
    expected = {name: tensor.shape for name, tensor in backbone.state_dict().items()}
    stored = weights.load_tensors(file)
    for state in (stored, weights.in_timm_names(stored, backbone)):
        shapes = {
            name: tensor.shape for name, tensor in state.items() if not name.startswith(CLASSIFIER_PREFIXES)
        }
        if shapes == expected:
            return state
    raise EngineError(f"The weights in {file} are not those of {network.name}.", "Remove that file.")


def build_backbone(network: Network, state: Mapping[str, Tensor]) -> nn.Module:
    """The backbone with these weights, in evaluation mode; gives pooled features [N, F]."""
    backbone = load_timm().create_model(network.timm_name, pretrained=False, num_classes=0)
    backbone.load_state_dict(state)
    return cast(nn.Module, backbone.eval())


def to_onnx(module: nn.Module, sizes: Sequence[int], outputs: Sequence[str]) -> bytes:
    """ONNX of a module whose inputs are `images_<R>` [n, R, R, 3] uint8."""
    inputs = tuple(torch.zeros(1, size, size, 3, dtype=torch.uint8) for size in sizes)
    names = [f"images_{size}" for size in sizes]
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the new exporter needs packages that are not installed
        torch.onnx.export(
            module.eval(),
            inputs,
            target,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in [*names, *outputs]},
        )
    return target.getvalue()


def _linear_layer(head: Head) -> nn.Linear:
    layer = nn.Linear(head.weight.shape[1], head.weight.shape[0])
    layer.weight.data.copy_(head.weight)
    layer.bias.data.copy_(head.bias)
    return layer

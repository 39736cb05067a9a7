"""Every network as the same parts: a stem, stages that end in maps, and a tail whose map is pooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from training.engine.backbones.registry import Channels, Network
from training.engine.backbones.vision_transformer import PatchMap, TokenStage, TokenStem, TokenTail

TRANSFORMER_PARTS = 4  # of its blocks: three stages and the tail


class Trunk(nn.Module):
    """The parts of a timm network, whose modules it shares. Images [N, 3, R, R] come in [-1, 1].

    `to_map` turns what leaves a stage into the map that can be pooled. timm's own pooling and classifier are
    left out. Raises ValueError for an unknown architecture.
    """

    def __init__(self, backbone: nn.Module, network: Network, resolution: int) -> None:
        super().__init__()
        stem, stages, tail = _parts_of(backbone, network, resolution)
        if network.mean != network.std or set(network.mean) != {0.5}:
            stem.insert(0, Rescale(network.mean, network.std))
        self.stem, self.stages, self.tail = nn.Sequential(*stem), nn.ModuleList(stages), nn.Sequential(*tail)
        is_transformer = bool(network.prefix_tokens)
        self.to_map = _patch_map(network, resolution) if is_transformer else nn.Identity()


class Rescale(nn.Module):
    """Images in [-1, 1] to (pixel - mean) / std, of pixels in [0, 1].

    It is not folded into the first convolution, whose padding must stay the mean colour.
    """

    def __init__(self, mean: Channels, std: Channels) -> None:
        super().__init__()
        centre, spread = torch.tensor(mean), torch.tensor(std)
        self.gain = nn.Buffer((0.5 / spread)[:, None, None])
        self.lift = nn.Buffer(((0.5 - centre) / spread)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return images * self.gain + self.lift


class PooledNorm(nn.Module):
    """A map [N, C, h, w] scaled so that its mean is the layer norm of the mean of the map that came in.

    ConvNeXt normalizes after pooling; a head needs features that are means over places.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        norm, means = cast(Any, self.norm), x.mean((2, 3), keepdim=True)
        centre = means.mean(1, keepdim=True)
        spread = ((means - centre).square().mean(1, keepdim=True) + norm.eps).sqrt()
        return cast(Tensor, (x - centre) / spread * norm.weight[:, None, None] + norm.bias[:, None, None])


def _parts_of(
    backbone: nn.Module, network: Network, resolution: int
) -> tuple[list[nn.Module], Sequence[nn.Module], list[nn.Module]]:
    """Stem, stages and tail."""
    net, kind = cast(Any, backbone), type(backbone).__name__
    if kind == "EfficientNet":
        return [net.conv_stem, net.bn1], list(net.blocks), [net.conv_head, net.bn2]
    if kind == "MobileNetV3":  # timm's class of MobileNetV4; the layer behind its pooling is left out, too
        return [net.conv_stem, net.bn1], list(net.blocks[:-1]), [net.blocks[-1]]
    if kind == "ResNet":
        stem = [net.conv1, net.bn1, net.act1, net.maxpool]
        return stem, [net.layer1, net.layer2, net.layer3], [net.layer4]
    if kind == "ConvNeXt":
        return [net.stem], list(net.stages[:-1]), [net.stages[-1], net.norm_pre, PooledNorm(net.head.norm)]
    if kind == "VisionTransformer":
        each, patches = len(net.blocks) // TRANSFORMER_PARTS, _patch_map(network, resolution)
        first, last = net.blocks[:-each], net.blocks[-each:]
        stages = [TokenStage(first[start : start + each]) for start in range(0, len(first), each)]
        return [TokenStem(net, patches.side)], stages, [TokenTail(last, net.norm, patches)]
    raise ValueError(f"The parts of {kind} are not known.")


def _patch_map(network: Network, resolution: int) -> PatchMap:
    return PatchMap(network.prefix_tokens, resolution // network.frozen_stride)

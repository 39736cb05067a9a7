"""Every network as the same parts: a stem, stages that end in maps, and a tail whose map is pooled."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from training.engine.backbones.registry import Channels, Network


class Trunk(nn.Module):
    """The parts of a timm network, whose modules it shares. Images [N, 3, R, R] come in [-1, 1].

    timm's own pooling and classifier are left out. Raises ValueError for an unknown architecture.
    """

    def __init__(self, backbone: nn.Module, network: Network) -> None:
        super().__init__()
        net, kind = cast(Any, backbone), type(backbone).__name__
        if kind == "EfficientNet":
            stem, stages, tail = [net.conv_stem, net.bn1], list(net.blocks), [net.conv_head, net.bn2]
        elif kind == "ResNet":
            stem = [net.conv1, net.bn1, net.act1, net.maxpool]
            stages, tail = [net.layer1, net.layer2, net.layer3], [net.layer4]
        else:
            raise ValueError(f"The parts of {kind} are not known.")
        if network.mean != network.std or set(network.mean) != {0.5}:
            stem.insert(0, Rescale(network.mean, network.std))
        self.stem, self.stages, self.tail = nn.Sequential(*stem), nn.ModuleList(stages), nn.Sequential(*tail)


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

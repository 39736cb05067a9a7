"""A trainable backbone: batch norm is folded into the convolutions at every step.

With frozen statistics y = γ (conv(x, W) - μ) / σ + β is one convolution with weights W γ/σ and bias β - μ
γ/σ. Folding the small weights instead of normalizing the large activations makes a training step on a CPU 1.5
times as fast, and the parameters stay those of the pretraining.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from training.engine.backbones.classifier import StateDict, build_backbone
from training.engine.backbones.depthwise import Depthwise
from training.engine.backbones.registry import Network
from training.engine.backbones.timm_loader import load_timm
from training.engine.backbones.trunk import Trunk


class FusedConv(nn.Module):
    """A convolution with its batch norm (frozen statistics, trainable scale and shift) and its activation."""

    def __init__(self, conv: Any, norm: Any) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm
        self.spread = (norm.running_var + norm.eps).rsqrt()
        self.is_padded_like_tensorflow = type(conv).__name__ == "Conv2dSame"
        self.is_depthwise = conv.groups == conv.in_channels > 1
        self.act = getattr(norm, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        # Fold γ and the frozen σ and μ into the weights: they are small, the activations are large.
        scale = self.norm.weight * self.spread
        weight = self.conv.weight * scale[:, None, None, None]
        bias = self.norm.bias - self.norm.running_mean * scale
        padding = self.conv.padding
        # TensorFlow's padding is asymmetric, which conv2d cannot do: it is applied before.
        if self.is_padded_like_tensorflow:
            x, padding = _pad_same(x, self.conv.kernel_size, self.conv.stride), (0, 0)
        # torch's own backward pass of this case is slow (depthwise.py).
        if self.is_depthwise and x.dtype == torch.bfloat16 and x.device.type == "cpu":
            stride, edge = self.conv.stride[0], padding[0]
            y = cast(Tensor, Depthwise.apply(x, weight.bfloat16(), bias.bfloat16(), stride, edge))  # type: ignore[no-untyped-call]
        else:
            y = nn.functional.conv2d(x, weight, bias, self.conv.stride, padding, 1, self.conv.groups)
        return cast(Tensor, self.act(y))


class TrainableBackbone(nn.Module):
    """[N, 3, R, R] images in [-1, 1] to [N, F] features. `live` holds the trained tensors, by timm's names.

    The stem and the first `frozen_stages` stages can be frozen; `forward` then takes their output, `maps`.
    """

    def __init__(
        self, network: Network, resolution: int, state: StateDict, device: str, frozen_stages: int = 0
    ) -> None:
        super().__init__()
        backbone = build_backbone(network, state).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # The names come from the backbone before fusing, which moves its modules.
        parameters = dict(backbone.named_parameters())
        self.frozen_stages = frozen_stages
        self.trunk = Trunk(_fuse(backbone), network, resolution).to(device)
        if frozen_stages:
            for part in (self.trunk.stem, *self.trunk.stages[:frozen_stages]):
                part.requires_grad_(False)
        used = {id(tensor) for tensor in self.trunk.parameters() if tensor.requires_grad}
        self.live = {name: tensor for name, tensor in parameters.items() if id(tensor) in used}

    def maps(self, images: Tensor) -> Tensor:
        """The maps [N, C, h, w] that leave the frozen stages, of images [N, 3, R, R]."""
        x = self.trunk.stem(images)
        for stage in self.trunk.stages[: self.frozen_stages]:
            x = stage(x)
        return cast(Tensor, x)

    def forward(self, x: Tensor) -> Tensor:
        """[N, F] features of images, or of `maps` where stages are frozen."""
        if not self.frozen_stages:
            x = self.trunk.stem(x)
        for stage in self.trunk.stages[self.frozen_stages :]:
            x = stage(x)
        return cast(Tensor, self.trunk.tail(x).mean((2, 3)))


def with_trained(state: StateDict, trained: dict[str, Tensor]) -> StateDict:
    """The state of a backbone with some tensors replaced."""
    return state | {name: tensor.float().cpu().contiguous() for name, tensor in trained.items()}


def _fuse(module: nn.Module) -> nn.Module:
    """Join every convolution with the batch norm that follows it, in place."""
    children = list(module.named_children())
    for (name, child), (next_name, following) in pairwise([*children, ("", None)]):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            setattr(module, name, FusedConv(child, following))
            setattr(module, next_name, nn.Identity())
        elif child is not None:
            _fuse(child)
    return module


def _pad_same(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """TensorFlow's SAME padding: an odd pixel is added on the right and at the bottom."""
    return cast(Tensor, load_timm().layers.pad_same(x, list(kernel), list(stride)))

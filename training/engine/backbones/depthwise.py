"""Depthwise convolution with a fast backward pass in bfloat16 on a CPU.

There torch's own backward falls back to slow reference code for strides and for 5 x 5 kernels, and takes most
of a training step. Both gradients are convolutions again, of kinds that are fast: the gradient of the input
is a correlation with the rotated kernel, for a stride one phase of the input at a time; the gradient of a
5 x 5 kernel is assembled from four overlapping 3 x 3 windows.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

QUICK_KERNEL = 3


class Depthwise(torch.autograd.Function):
    """conv2d of [N, C, H, W] with weight [C, 1, K, K] (K 3 or 5) and bias [C], one group for each channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        for_x = _input_gradient(gradient, x, weight, ctx.stride, ctx.padding) if needs_x else None
        for_weight = _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding) if needs_weight else None
        for_bias = gradient.sum((0, 2, 3)) if needs_bias else None
        return for_x, for_weight, for_bias, None, None


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of the input. Phase (a, b) of the padded input meets only every stride-th tap."""
    n, channels, height, width = x.shape
    if stride == 1:
        edge = weight.shape[2] - 1 - padding
        return functional.conv2d(gradient, weight.flip(2, 3), None, 1, edge, 1, channels)
    high, wide = height + 2 * padding, width + 2 * padding
    padded = gradient.new_zeros(n, high, wide, channels).permute(0, 3, 1, 2)
    for a in range(stride):
        for b in range(stride):
            taps = weight[:, :, a::stride, b::stride].flip(2, 3)
            edges = (taps.shape[2] - 1, taps.shape[3] - 1)
            part = functional.conv2d(gradient, taps, None, 1, edges, 1, channels)
            phase = padded[:, :, a::stride, b::stride]
            rows, columns = min(phase.shape[2], part.shape[2]), min(phase.shape[3], part.shape[3])
            phase[:, :, :rows, :columns] = part[:, :, :rows, :columns]
    return padded[:, :, padding : padding + height, padding : padding + width]


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of the kernel, from windows of the size for which the library is fast."""
    size = weight.shape[2]
    if size == QUICK_KERNEL:
        return _library_weight_gradient(gradient, x, weight, stride, padding)
    padded = functional.pad(x, [padding] * 4) if padding else x
    reach_y, reach_x = (stride * (length - 1) + QUICK_KERNEL for length in gradient.shape[2:])
    window = weight[:, :, :QUICK_KERNEL, :QUICK_KERNEL].contiguous()
    total = torch.empty_like(weight)
    starts = (0, size - QUICK_KERNEL)
    for top in starts:
        for left in starts:
            window_input = padded[:, :, top : top + reach_y, left : left + reach_x]
            total[:, :, top : top + QUICK_KERNEL, left : left + QUICK_KERNEL] = _library_weight_gradient(
                gradient, window_input.contiguous(memory_format=torch.channels_last), window, stride, 0
            )
    return total


def _library_weight_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int
) -> Tensor:
    strides, paddings = [stride, stride], [padding, padding]
    output_mask = [False, True, False]
    gradients = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, strides, paddings, [1, 1], False, [0, 0], len(weight), output_mask
    )
    return cast(Tensor, gradients[1])

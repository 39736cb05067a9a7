"""Gradients of the depthwise convolution equal those of the library, which are correct but slow."""

import pytest
import torch
from torch.nn import functional

from training.engine.backbones.depthwise import Depthwise


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [(7, 5, 1, 2), (8, 3, 1, 1), (15, 5, 2, 0), (13, 3, 2, 0), (14, 3, 2, 0), (12, 5, 2, 2), (9, 3, 2, 1)],
)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_library(
    size: int, kernel: int, stride: int, padding: int, precision: torch.dtype
) -> None:
    random = torch.Generator().manual_seed(size)
    x, weight, bias = (
        torch.randn(shape, generator=random).to(precision).requires_grad_()
        for shape in ((3, 8, size, size), (8, 1, kernel, kernel), (8,))
    )
    exact = [tensor.detach().float().requires_grad_() for tensor in (x, weight, bias)]

    answer = Depthwise.apply(x, weight, bias, stride, padding)
    wanted = functional.conv2d(exact[0], exact[1], exact[2], stride, padding, 1, 8)
    upstream = torch.randn(wanted.shape, generator=random).to(precision)
    answer.backward(upstream)
    wanted.backward(upstream.float())

    tolerance = 1e-5 if precision == torch.float32 else 0.02
    for mine, theirs in zip((x, weight, bias), exact, strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert mine.grad.dtype == precision
        largest = theirs.grad.abs().max()
        assert (mine.grad.float() - theirs.grad).abs().max() <= tolerance * largest

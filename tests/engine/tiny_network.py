"""A network of a few layers with random weights, for fits whose subject is not what a network knows.

It is the fastest there is, so that `quick_config` chooses it alone. Ask for it by the fixture `tiny_network`.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from training.engine.backbones import registry, weights
from training.engine.backbones.registry import Network
from training.engine.backbones.timm_loader import load_timm

TINY = Network(
    name="Tiny",
    timm_name="test_efficientnet",
    resolution=64,
    resolutions=(64,),
    stages=(16, 24, 32, 48, 64),
    features=256,
    parameters=356_196,
    macs=9_067_776,
    bytes_moved=1_064_896,
    layers=16,
)


def random_network(network: Network, seed: int = 0, classes: int = 3) -> nn.Module:
    """timm's network with random weights, and norms that have seen something.

    Some parts begin at 0 or nearly so, and nothing behind them would count or learn.
    """
    torch.manual_seed(seed)
    net = load_timm().create_model(network.timm_name, pretrained=False, num_classes=classes)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(1, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1)
    for name, parameter in net.named_parameters():
        if name.endswith(("gamma", "grn.weight", "grn.bias", "_token", "pos_embed")):
            nn.init.uniform_(parameter, 0.5, 1)
    return net.eval()


@cache
def tiny_weights() -> bytes:
    content = io.BytesIO()
    torch.save(random_network(TINY).state_dict(), content)
    return content.getvalue()


def add_tiny_network(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Registers the tiny network, with weights in the operator's folder of weights."""
    folder.mkdir(exist_ok=True)
    (folder / f"{TINY.timm_name}.pth").write_bytes(tiny_weights())
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(folder))
    monkeypatch.setattr(registry, "NETWORKS", (*registry.NETWORKS, TINY))

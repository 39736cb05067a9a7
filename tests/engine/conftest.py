"""Fixtures of the engine's tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tiny network is there, and the fastest."""
    from tests.engine.tiny_network import add_tiny_network

    add_tiny_network(monkeypatch, tmp_path / "weights")

"""Fixtures of the engine's tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit has no time left for an INT8 network, which costs it seconds and is another test's subject."""
    from training.engine.bundle import quantization

    monkeypatch.setattr(quantization, "FIXED_S", 100_000)

"""OpenVINO: its first inference in a process, whatever threads ask for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from training.engine import runtime


def test_of_threads_that_ask_at_once_one_makes_the_first_inference_and_the_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inferences, made, together = runtime._make_inferences, list[str](), threading.Barrier(4)

    def counted(openvino: Any) -> None:
        inferences(openvino)
        made.append("inference")

    def ask(_: int) -> int:
        together.wait()
        runtime.openvino()
        return len(made)

    monkeypatch.setattr(runtime, "_make_inferences", counted)
    monkeypatch.setattr(runtime, "_warm", None)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [1, 1, 1, 1]

"""A compiled network: a lone image is answered with all its threads, several at once with one thread each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger(__name__)

Compile = Callable[[], Any]


class InProgress:
    """Counts the answers in progress in this process, by any of its models."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self.count += 1
        try:
            yield
        finally:
            with self._lock:
                self.count -= 1


answers_in_progress = InProgress()


class AdaptiveNetwork:
    """Chooses between a network compiled for a quick answer and the same one compiled for many at once.

    Two threads for one image take 1.2 times the processor time of one thread, and a network for quick answers
    gives one after the other, however many cores there are. `compile_parallel` is called in the background
    when answers are in progress at once for the first time; without it the network never changes.
    """

    def __init__(self, quick: Any, compile_parallel: Compile | None = None) -> None:
        self._quick: Any = quick
        self._parallel: Any = None
        self._compile_parallel = compile_parallel
        self._lock = threading.Lock()
        self._local = threading.local()

    def request(self) -> Any:
        """This thread's own inference request: requests must not be shared, compiled models may."""
        is_lone = answers_in_progress.count < 2
        if not is_lone and self._compile_parallel is not None:
            self._begin_to_compile()
        name = "quick" if is_lone or self._parallel is None else "parallel"
        if not hasattr(self._local, name):
            network = self._quick if name == "quick" else self._parallel
            setattr(self._local, name, network.create_infer_request())
        return getattr(self._local, name)

    def _begin_to_compile(self) -> None:
        with self._lock:
            compile_parallel, self._compile_parallel = self._compile_parallel, None
        if compile_parallel is not None:
            threading.Thread(target=self._compile, args=[compile_parallel], daemon=True).start()

    def _compile(self, compile_parallel: Compile) -> None:
        try:
            self._parallel = compile_parallel()
        except Exception:  # the quick one goes on answering
            logger.exception("A network could not be compiled for several answers at once")

"""Thousands of calls while versions change places, web workers are killed and a service stops."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from benchmarks.calling import Caller
from benchmarks.served import DeployedService, run_action, web_workers

CLIENTS = 16
EVERY_S = 2.0
STOPS_AT = 4  # the turn in which the second service stops
TOLERANCE = 2e-3


@dataclass
class Storm:
    """`expected`: version → (label, score) that it must give for the photo."""

    services: Sequence[DeployedService]
    expected: Mapping[str, tuple[str, float]]
    photo: bytes
    calls: int
    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    actions: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> dict[str, Any]:
        disturber = threading.Thread(target=self._disturb)
        disturber.start()
        with ThreadPoolExecutor(CLIENTS) as pool:
            lost = sum(pool.map(self._work, range(CLIENTS)))
        self.over.set()
        disturber.join()
        second = self.services[1]
        return {
            "calls": self.calls,
            "wrong_answers": len(self.wrong),
            "examples": self.wrong[:5],
            "statuses": dict(self.statuses),
            "answered_by": dict(self.versions),
            "actions": dict(self.actions),
            "lost_connections": lost,
            "feedback_confirmed": len(self.kept),
            "feedback_stored": int(run_action(second.product, "count", second.pk)),
        }

    def _work(self, number: int) -> int:
        """One client's share of the calls; the connections that it lost."""
        caller = self.services[number % 4 == 3].caller()
        for turn in range(number, self.calls, CLIENTS):
            status, answer = caller.call(self.photo)
            with self.lock:
                self.statuses["200" if status == 200 else f"{status} {answer.get('error_code')}"] += 1
                if status == 200:
                    self._check(answer)
            if status == 200 and answer["is_collected"] and turn // CLIENTS % 3 == 0:
                self._say_right(caller, answer["request_id"])
        return caller.lost

    def _check(self, answer: dict[str, Any]) -> None:
        self.versions[answer["version"]] += 1
        label, score = self.expected[answer["version"]]
        top = answer["scores"][0]
        if top[0] != label or abs(float(top[1]) - score) > TOLERANCE:
            self.wrong.append(f"{answer['version']}: {top}")

    def _say_right(self, caller: Caller, request_id: str) -> None:
        said = json.dumps({"request_id": request_id, "is_right": True}).encode()
        status, _ = caller.send(f"{caller.path}/feedback", said, "application/json")
        if status == 200:
            self.kept.add(request_id)

    def _disturb(self) -> None:
        first, second = self.services
        turn = 0
        while not self.over.wait(EVERY_S):
            if turn == STOPS_AT:
                run_action(second.product, "stop", second.pk)
                self.actions["stopped"] += 1
            elif turn % 3 == 2:
                os.kill(web_workers(first.product)[0], signal.SIGKILL)
                self.actions["killed a web worker"] += 1
            else:
                run_action(first.product, "change", first.pk)
                self.actions["changed the version"] += 1
            turn += 1

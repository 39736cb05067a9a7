"""Actors of `benchmarks.kill`: each repeats a request until it is acknowledged, and notes what was."""

from __future__ import annotations

import http.client
import io
import json
import random
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple
from urllib.parse import urlencode

from benchmarks.importing import noise
from benchmarks.ten_minutes import EDGE, multipart, signed_in
from tests.supervisor_process import Product

DONE = (200, 302, 303)
LABELS = ("roses", "tulips", "daisies")
IMPORTED, PREDICTED = 40, 30  # images of one import, of one batch
FORM, MULTIPART = "application/x-www-form-urlencoded", f"multipart/form-data; boundary={EDGE}"
TIMEOUT_S = 60
GIVE_UP_S = 150.0  # after the last kill


class Answer(NamedTuple):
    """An answer to an actor's request; status 0 where none came."""

    actor: str
    at: float  # time.monotonic()
    seconds: float
    status: int


@dataclass
class Notes:
    """What was acknowledged. Each dictionary has one writer per key."""

    product: Product
    ports: list[int] = field(default_factory=list)  # of several web machines, which the actors share out
    project: int = 0
    trained_project: int = 0
    service: str = ""
    images: dict[int, bytes] = field(default_factory=dict)  # id → content
    labels: dict[int, str] = field(default_factory=dict)  # image id → label
    imports: dict[int, list[bytes]] = field(default_factory=dict)  # transfer id → contents
    trainings: list[int] = field(default_factory=list)  # numbers of versions in `trained_project`
    batches: int = 0
    service_runs: bool | None = None
    unacknowledged: list[str] = field(default_factory=list)
    retries: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    answers: list[Answer] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def totals(self) -> dict[str, int]:
        return {
            "uploads": len(self.images),
            "images labeled": len(self.labels),
            "imports": len(self.imports),
            "trainings": len(self.trainings),
            "batches": self.batches,
        }


class Client:
    """A browser that sends a request again until the server has answered it."""

    def __init__(self, notes: Notes) -> None:
        self.notes, self.headers = notes, signed_in(notes.product)
        self.actor = threading.current_thread().name
        ports = notes.ports or [notes.product.port]
        self.port = ports[int(self.actor.rpartition(" ")[2]) % len(ports)]
        self.ended_at = float("inf")

    def send(self, path: str, body: bytes, kind: str, *, is_fragment: bool = False) -> tuple[int, bytes]:
        """The first answer below 500. Raises TimeoutError some minutes after the last kill."""
        headers = {**self.headers, "Content-Type": kind} | ({"HX-Request": "true"} if is_fragment else {})
        if is_fragment:
            headers["Accept"] = "text/html"
        method = "POST" if body or kind else "GET"
        while True:
            status, content = self.attempt(method, path, body or None, headers)
            if 0 < status < 500:
                return status, content
            if status:
                self.notes.errors[f"{status}"] += 1
            self.notes.retries += 1
            self._wait(path)

    def attempt(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """One request; status 0 where no answer comes within TIMEOUT_S."""
        began, status, content = time.monotonic(), 0, b""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content, status = answer.read(), answer.status
            connection.close()
        except (OSError, http.client.HTTPException):
            pass
        now = time.monotonic()
        self.notes.answers.append(Answer(self.actor, now, now - began, status))
        return status, content

    def post(self, path: str, values: dict[str, str], *, is_fragment: bool = False) -> tuple[int, bytes]:
        return self.send(path, urlencode(values).encode(), FORM, is_fragment=is_fragment)

    def _wait(self, path: str) -> None:
        if self.notes.is_over.is_set():
            self.ended_at = min(self.ended_at, time.monotonic())
            if time.monotonic() - self.ended_at > GIVE_UP_S:
                self.notes.unacknowledged.append(path)
                raise TimeoutError(path)
        time.sleep(0.3)


@cache
def _noise(seed: int) -> bytes:
    return noise(seed)


def photo(name: str) -> bytes:
    """A photo whose bytes no other has: decoders ignore what follows the end of a JPEG."""
    return _noise(hash(name) % 100) + name.encode()


def upload(notes: Notes, number: int) -> None:
    client, turn = Client(notes), 0
    while not notes.is_over.is_set():
        turn += 1
        content = photo(f"upload {number} {turn}")
        body = multipart("files", [(f"upload-{number}-{turn}.jpg", content)])
        status, answer = client.send(f"/projects/{notes.project}/images/upload/", body, MULTIPART)
        [outcome] = json.loads(answer)["outcomes"]
        assert status == 200 and outcome["image"], answer
        notes.images[outcome["image"]] = content


def label(notes: Notes, number: int) -> None:
    """Labels only images whose id leaves the remainder `number`, so each image has one labeler."""
    client, chance = Client(notes), random.Random(number)
    while not notes.is_over.is_set():
        mine = [pk for pk in list(notes.images) if pk % 2 == number]
        if not mine:
            time.sleep(0.2)
            continue
        image, name = chance.choice(mine), chance.choice(LABELS)
        values = {"images": str(image), "add": name}
        path = f"/projects/{notes.project}/label-data/label/"
        status, answer = client.post(path, values, is_fragment=True)
        assert status == 200, answer[:300]
        notes.labels[image] = name


def import_archives(notes: Notes, number: int) -> None:
    client, turn = Client(notes), 0
    while not notes.is_over.is_set():
        turn += 1
        contents = [photo(f"import {number} {turn} {n}") for n in range(IMPORTED)]
        names = [f"{LABELS[n % 2]}/{number}-{turn}-{n}.jpg" for n in range(IMPORTED)]
        archive = zipped(dict(zip(names, contents, strict=True)))
        files = [{"name": f"{number}-{turn}.zip", "size": len(archive), "modified": turn}]
        status, answer = client.post(
            f"/projects/{notes.project}/transfers/new/", {"file_list": json.dumps(files)}
        )
        assert status == 201, answer[:300]
        state = json.loads(answer)
        for part in state["missing"][0]:
            start = part * state["part_bytes"]
            url = state["part_url"].replace("/parts/0/0/", f"/parts/0/{part}/")
            status, answer = client.send(
                url, archive[start : start + state["part_bytes"]], "application/octet-stream"
            )
            assert status in (204, 409), answer[:300]
        status, answer = client.send(state["begin_url"], b"", FORM)
        assert status == 200, answer[:300]
        notes.imports[int(state["url"].rstrip("/").rpartition("/")[2])] = contents
        _wait_while_active(notes, "imports")


def train_versions(notes: Notes, number: int) -> None:
    """Submits the default configuration with the shortest limit; waits for its end before the next."""
    client = Client(notes)
    path = f"/projects/{notes.trained_project}/train-model/configure/"
    while not notes.is_over.is_set():
        page = client.send(path, b"", "")[1].decode()
        values = notes.product.form_values(page) | {"max_training_hours": "0.1"}
        _, receipt = client.post(path, values)
        values = notes.product.form_values(receipt.decode())
        status, answer = client.post(f"{path}submit/", values)
        if status == 422:  # the first request had arrived: its version name is taken
            _wait_while_active(notes, "trainings")
            continue
        assert status in DONE, (status, answer[:300])
        notes.trainings.append(int(values["dataset_version"].removeprefix("V")))
        _wait_while_active(notes, "trainings")


def predict_batches(notes: Notes, number: int) -> None:
    client, turn = Client(notes), 0
    path = f"/projects/{notes.trained_project}/deploy-service/{notes.service}/batches/begin/"
    while not notes.is_over.is_set():
        turn += 1
        files = {f"{n}.jpg": photo(f"batch {turn} {n}") for n in range(PREDICTED)}
        body = multipart("uploads", [(f"batch-{turn}.zip", zipped(files))])
        status, answer = client.send(path, body, MULTIPART)
        if status != 422:  # 422: the service is stopped right now
            assert status in DONE, (status, answer[:300])
            notes.batches += 1
        _wait_while_active(notes, "batches")
        time.sleep(1)


def switch_service(notes: Notes, number: int) -> None:
    client = Client(notes)
    path = f"/projects/{notes.trained_project}/deploy-service/{notes.service}"
    while not notes.is_over.is_set():
        for action in ("stop", "start"):
            status, answer = client.post(f"{path}/{action}/", {})
            assert status in DONE, (status, answer[:300])
            notes.service_runs = action == "start"
            notes.is_over.wait(20)


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _wait_while_active(notes: Notes, work: str) -> None:
    from django.db import Error, connection

    from benchmarks.kill_check import active_rows

    while not notes.is_over.is_set():
        try:
            if not active_rows(notes)[work]:
                return
        except Error:  # the database is away
            connection.close()
        time.sleep(1)


ACTORS: dict[str, tuple[Callable[[Notes, int], None], int]] = {  # and how many of each
    "uploads": (upload, 2),
    "labels": (label, 2),
    "imports": (import_archives, 1),
    "trainings": (train_versions, 1),
    "batches": (predict_batches, 1),
    "services": (switch_service, 1),
}


def actor_threads(notes: Notes, names: list[str]) -> list[threading.Thread]:
    return [
        threading.Thread(target=_run, args=(notes, name, number), name=f"{name} {number}", daemon=True)
        for name in names
        for number in range(ACTORS[name][1])
    ]


def _run(notes: Notes, name: str, number: int) -> None:
    """An actor that meets an answer that it does not expect ends, and the report says so."""
    try:
        ACTORS[name][0](notes, number)
    except Exception as problem:
        notes.unacknowledged.append(f"{name} {number}: {problem!r}"[:400])

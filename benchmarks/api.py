"""Seconds of work with many images over the API, beside Label Studio where it is installed.

    python -m benchmarks.api [--images 10000] [--listed 100000] [--peer PATH/bin/label-studio]

Uploads small images, 100 to a call; gives all of them a label; lists a project of many images by pages of
1,000 (Label Studio: 500); exports the labels. `--peer` names the program of Label Studio in an environment of
its own (`python -m venv ls && ls/bin/pip install label-studio`). Both servers run as their own commands start
them, on SQLite in temporary folders, and are asked in turns over one connection each. Label Studio labels
one task per call, since its bulk labeling is not in the open edition.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from PIL import Image as Picture

from benchmarks.labeling import image_row, set_up, web_server

LABELS = [f"label {n}" for n in range(30)]
FILES_PER_CALL, ANNOTATIONS_PER_CALL, PAGE, TASKS_PER_CALL = 100, 10_000, 1000, 5000
TASKS_PER_PAGE = 500  # on SQLite, a page of 1,000 tasks fails: "Expression tree is too large"
ROW = "{:<22}{:>12}{:>16}{:>9}"
START_S = 900  # at most, until the peer answers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--listed", type=int, default=100_000)
    parser.add_argument("--peer", type=Path, help="the program label-studio")
    options = parser.parse_args()
    with ExitStack() as stack:
        sides: list[Side] = [stack.enter_context(product(options.listed))]
        if options.peer:
            sides.append(stack.enter_context(label_studio(options.peer, options.listed)))
        report(sides, [small_picture(number) for number in range(options.images)], options.listed)


def small_picture(number: int) -> bytes:
    """A PNG file that differs for every number."""
    picture = Picture.new("RGB", (32, 24), (number % 256, number // 256 % 256, 7))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


class Side(Protocol):
    """A program that is measured."""

    name: str
    api: Caller

    def upload(self, pictures: Sequence[bytes]) -> int: ...

    def annotate(self) -> int: ...

    def list_all(self) -> int: ...

    def export(self) -> int: ...


def report(sides: Sequence[Side], pictures: Sequence[bytes], listed: int) -> None:
    number = len(pictures)
    steps: list[tuple[str, int, Callable[[Side], int]]] = [
        (f"upload {number:,}", number, lambda side: side.upload(pictures)),
        (f"annotate {number:,}", number, lambda side: side.annotate()),
        (f"list {listed:,}", listed, lambda side: side.list_all()),
        (f"export {number:,}", number, lambda side: side.export()),
    ]
    print(ROW.format("seconds", *[side.name for side in sides], *["", "ratio"][len(sides) - 1 :]))
    for name, expected, step in steps:
        taken = [timed(step, side, expected) for side in sides]
        ratio = [f"{taken[1] / taken[0]:.1f}"] if len(taken) > 1 else ["", ""]
        print(ROW.format(name, *[f"{seconds:.2f}" for seconds in taken], *ratio), flush=True)


def timed(step: Callable[[Side], int], side: Side, expected: int) -> float:
    side.api.connection.close()  # the server may have closed it while it was idle
    began = time.perf_counter()
    done = step(side)
    seconds = time.perf_counter() - began
    if done != expected:
        raise RuntimeError(f"{side.name}: {done} instead of {expected}")
    return seconds


# --- Calls ---


class Caller:
    """One connection that stays open."""

    def __init__(self, port: int, **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1200)
        self.headers = headers

    def call(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        self.connection.request(method, path, body or None, {**self.headers, "Content-Type": kind})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content

    def json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self.call(method, path, b"" if body is None else json.dumps(body).encode()))

    def send_files(self, path: str, name: str, files: dict[str, bytes]) -> Any:
        """`name`: of the field, in which {} becomes the number of the file."""
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{name.format(number)}"; filename="{file}"\r\n'
            "Content-Type: image/png\r\n\r\n".encode()
            + content
            + b"\r\n"
            for number, (file, content) in enumerate(files.items())
        ]
        body = b"".join(parts) + b"--x--\r\n"
        return json.loads(self.call("POST", path, body, "multipart/form-data; boundary=x"))


def portions(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


# --- exeml ---


class Product:
    name = "exeml"

    def __init__(self, api: Caller, project: int, large_project: int) -> None:
        self.api, self.project, self.large_project = api, project, large_project
        self.images: list[int] = []

    def upload(self, pictures: Sequence[bytes]) -> int:
        for start in range(0, len(pictures), FILES_PER_CALL):
            part = pictures[start : start + FILES_PER_CALL]
            files = {f"{start + n}.png": content for n, content in enumerate(part)}
            answer = self.api.send_files(f"/api/v1/projects/{self.project}/images", "files", files)
            self.images += [item["image_id"] for item in answer["items"] if item["status"] == "stored"]
        return len(self.images)

    def annotate(self) -> int:
        changed = 0
        for part in portions(self.images, ANNOTATIONS_PER_CALL):
            entries = [{"image_id": pk, "labels": [LABELS[pk % len(LABELS)]]} for pk in part]
            path = f"/api/v1/projects/{self.project}/annotations"
            changed += self.api.json("POST", path, {"annotations": entries})["changed_count"]
        return changed

    def list_all(self) -> int:
        seen, cursor = 0, ""
        while True:
            path = f"/api/v1/projects/{self.large_project}/images?limit={PAGE}&cursor={cursor}"
            page = self.api.json("GET", path)
            seen += len(page["items"])
            if not (cursor := page["next"]):
                return seen

    def export(self) -> int:
        return self.api.call("GET", f"/api/v1/projects/{self.project}/export?format=manifest").count(b"\n")


@contextmanager
def product(listed: int) -> Iterator[Product]:
    with tempfile.TemporaryDirectory(prefix="exeml-api-") as folder:
        set_up(folder, "")
        project, large_project, token = make_world(listed)
        with web_server(folder, "") as port:
            yield Product(Caller(port, Authorization=f"Bearer {token}"), project, large_project)


def make_world(listed: int) -> tuple[int, int, str]:
    """Keys of an empty and a large project, a token of the API."""
    from django.contrib.auth.models import User

    from projects.labels import actions
    from projects.models import Image, Membership, Project, Role, Scope, Team
    from projects.sign_in import access_tokens

    team = Team.objects.create(name="Benchmark")
    user = User.objects.create(username="labeler")
    Membership.objects.create(team=team, user=user, role=Role.LABELER)
    project = Project.objects.create(team=team, name="empty")
    large = Project.objects.create(team=team, name="large")
    labels = actions.ensure_labels(large, LABELS)
    rows = [image_row(large, labels, number) for number in range(listed)]
    for row in rows:
        row.is_labeled = False
    Image.objects.bulk_create(rows, batch_size=2000)
    _, token = access_tokens.create(user, "benchmark", Scope.values, by=user)
    return project.pk, large.pk, token.plain


# --- Label Studio ---

CONFIGURATION = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{label}"/>' for label in LABELS)
    + "</Choices></View>"
)


class LabelStudio:
    name = "Label Studio"

    def __init__(self, api: Caller, listed: int) -> None:
        self.api = api
        self.project = self._new_project("small")
        self.large_project = self._new_project("large")
        tasks = [{"data": {"image": f"http://127.0.0.1/{n}.jpg"}} for n in range(listed)]
        for part in portions(tasks, TASKS_PER_CALL):
            self.api.json("POST", f"/api/projects/{self.large_project}/import", list(part))

    def _new_project(self, title: str) -> int:
        made = self.api.json("POST", "/api/projects/", {"title": title, "label_config": CONFIGURATION})
        return int(made["id"])

    def upload(self, pictures: Sequence[bytes]) -> int:
        made = 0
        for start in range(0, len(pictures), FILES_PER_CALL):
            part = pictures[start : start + FILES_PER_CALL]
            files = {f"{start + n}.png": content for n, content in enumerate(part)}
            answer = self.api.send_files(f"/api/projects/{self.project}/import", "file{}", files)
            made += int(answer["task_count"])
        return made

    def annotate(self) -> int:
        tasks = self._tasks(self.project)
        for task in tasks:
            choice = {"choices": [LABELS[task % len(LABELS)]]}
            result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": choice}]
            self.api.json("POST", f"/api/tasks/{task}/annotations/", {"result": result})
        return len(tasks)

    def list_all(self) -> int:
        return len(self._tasks(self.large_project))

    def _tasks(self, project: int) -> list[int]:
        found, page = list[int](), 1
        while True:
            address = f"/api/tasks?project={project}&page={page}&page_size={TASKS_PER_PAGE}"
            answer = self.api.json("GET", address)
            found += [task["id"] for task in answer["tasks"]]
            if len(found) >= answer["total"]:
                return found
            page += 1

    def export(self) -> int:
        return len(self.api.json("GET", f"/api/projects/{self.project}/export?exportType=JSON"))


@contextmanager
def label_studio(program: Path, listed: int) -> Iterator[LabelStudio]:
    from exeml_site.supervisor.preflight import claim_port

    listener = claim_port("127.0.0.1", 0)
    port = int(listener.getsockname()[1])
    listener.close()
    token = "0123456789abcdef0123456789abcdef01234567"
    with tempfile.TemporaryDirectory(prefix="label-studio-") as folder:
        command = [
            *(str(program), "start", "--no-browser", "--port", str(port), "--data-dir", folder),
            *("--username", "a@example.com", "--password", "a good long password"),
            *("--user-token", token, "--enable-legacy-api-token", "--log-level", "ERROR"),
        ]
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "COLLECT_ANALYTICS": "false"}
        environment["LATEST_VERSION_CHECK"] = "false"
        with (Path(folder) / "log").open("w") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            try:
                wait_for(port, server)
                yield LabelStudio(Caller(port, Authorization=f"Token {token}"), listed)
            except Exception:
                sys.stderr.write((Path(folder) / "log").read_text()[-3000:])
                raise
            finally:
                server.terminate()
                server.wait(30)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and server.poll() is None:
        try:
            Caller(port).call("GET", "/health")
            return
        except (OSError, http.client.HTTPException, RuntimeError):
            time.sleep(1)
    raise RuntimeError("Label Studio did not start")


if __name__ == "__main__":
    main()

"""Response times of Label Data on a large project, for one user and for twenty at once.

    python -m benchmarks.labeling [--images 100000] [--users 1 20] [--rounds 40] [--database postgresql://…]

A project with 30 labels, half of its images labeled and a suggestion on the others, is made in a temporary
EXEML_DATA (SQLite) or in an empty database; requests then go over HTTP to the product's own web server, as
`up` starts it. Milliseconds are from the first byte sent to the last byte read. `floor` is a page that reads
the session alone from the database: the cost of the server itself. Several users send requests without a
pause, so the cores are always busy; with `--pause 2` each waits about so many seconds between them, as people
do.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
LABELS, MOST_USERS = 30, 20
ROW = "{:<34}{:>9}{:>9}{:>9}{:>9}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--users", type=int, nargs="+", default=[1, MOST_USERS])
    parser.add_argument("--rounds", type=int, default=40, help="requests of each kind and user")
    parser.add_argument("--pause", type=float, default=0, help="seconds between two requests of a user")
    parser.add_argument("--database", default="", help="an empty database; SQLite without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-labeling-") as folder:
        set_up(folder, options.database)
        world = make_world(options.images)
        with web_server(folder, options.database) as port:
            for users in options.users:
                rounds = max(5, options.rounds // (1 if users == 1 else 4))
                report(world, port, users, rounds, options.pause if users > 1 else 0)


# --- the world ---


def set_up(folder: str, database: str) -> None:
    os.environ.update(EXEML_DATA=folder, DATABASE_URL=database, STORAGE_URL="", EXEML_LOG_LEVEL="ERROR")
    os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)


@dataclass(frozen=True)
class World:
    project: int
    images: list[int]  # newest first
    labels: list[int]
    sessions: list[str]


def make_world(images: int) -> World:
    """Rows without files: no measured request opens an image."""
    from django.utils import timezone

    from projects.labels import actions
    from projects.models import Annotation, Image, Project, Team

    team = Team.objects.create(name="Benchmark")
    project = Project.objects.create(team=team, name="benchmark")
    labels = actions.ensure_labels(project, [f"label {n}" for n in range(LABELS)])
    rows = [image_row(project, labels, number) for number in range(images)]
    Image.objects.bulk_create(rows, batch_size=2000)
    now = timezone.now()
    Annotation.objects.bulk_create(
        [
            Annotation(image=row, label=labels[number % LABELS], at=now)
            for number, row in enumerate(rows)
            if row.is_labeled
        ],
        batch_size=5000,
    )
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    newest_first = [row.pk for row in reversed(rows)]
    sessions = [make_session(team, f"labeler-{n}") for n in range(MOST_USERS)]
    return World(project.pk, newest_first, [label.pk for label in labels], sessions)


def image_row(project: Any, labels: list[Any], number: int) -> Any:
    from projects.models import Image

    waits = number % 2 == 1
    return Image(
        project=project,
        sha256=f"{number:064x}",
        name=f"photo-{number:06d}.jpg",
        format="JPEG",
        width=640,
        height=480,
        size_bytes=100_000,
        is_labeled=not waits,
        suggestion=labels[number * 7 % LABELS] if waits else None,
        confidence=(number * 37 % 1000) / 1000 if waits else None,
        acquisition_score=(number * 91 % 1000) / 1000 if waits else None,
        brightness=float(number * 13 % 250),
        sharpness=float(number * 17 % 900),
    )


def make_session(team: Any, name: str) -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    from projects.models import Membership, Role

    user = User.objects.create_user(name)
    Membership.objects.create(team=team, user=user, role=Role.LABELER)
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    return str(store.session_key)


@contextmanager
def web_server(folder: str, database: str) -> Iterator[int]:
    from exeml_site.supervisor.preflight import claim_port
    from exeml_site.supervisor.programs import programs

    listener = claim_port("127.0.0.1", 0)
    [web] = [one for one in programs(["web"], listener.fileno()) if one.name == "web"]
    environment = {**os.environ, **web.environment, "EXEML_DATA": folder, "DATABASE_URL": database}
    server = subprocess.Popen(list(web.command), cwd=ROOT, env=environment, pass_fds=[listener.fileno()])
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.terminate()
        server.wait(20)
        listener.close()


# --- asking ---


class Browser:
    """One signed-in person with a connection of her own."""

    def __init__(self, port: int, session: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.token = "x" * 32
        cookie = f"sessionid={session}; csrftoken={self.token}"
        self.headers = {"Cookie": cookie, "HX-Request": "true", "X-CSRFToken": self.token}

    def ask(self, path: str, form: dict[str, str] | None = None) -> float:
        """Milliseconds of one request. Raises RuntimeError where the answer is no 200."""
        headers = dict(self.headers)
        body = None
        if form is not None:
            body = urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        began = time.perf_counter()
        self.connection.request("POST" if form is not None else "GET", path, body, headers)
        answer = self.connection.getresponse()
        answer.read()
        took = 1000 * (time.perf_counter() - began)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        return took


Asking = Callable[[Browser, int], float]


def requests_of(world: World) -> list[tuple[str, Asking]]:
    """What is measured, by name; each is handed a number that differs in every round."""
    label_data = f"/projects/{world.project}/label-data/"
    deep = world.images[int(0.9 * len(world.images))]
    middle = f"before=0.5~{world.images[0]}"

    def get(query: str) -> Asking:
        return lambda browser, _: browser.ask(f"{label_data}?{query}")

    def by_label(browser: Browser, number: int) -> float:
        return browser.ask(f"{label_data}?tab=labeled&label={world.labels[number % LABELS]}")

    def by_group(browser: Browser, number: int) -> float:
        return browser.ask(f"{label_data}?tab=suggested&suggestion={world.labels[number % LABELS]}&above=0.9")

    def label(browser: Browser, number: int) -> float:
        start = (number * 211) % max(1, len(world.images) - 200)
        chosen = ",".join(map(str, world.images[start : start + 200]))
        form = {"images": chosen, "add": f"label {number % LABELS}"}
        return browser.ask(f"{label_data}label/?tab=all", form)

    return [
        ("floor: password page", lambda browser, _: browser.ask("/password/")),
        ("grid, All", get("tab=all")),
        ("grid, All, after 90 %", get(f"tab=all&before={deep}")),
        (
            "tiles alone, after 90 %",
            lambda b, _: b.ask(f"{label_data}grid/?tab=all&before={deep}&part=tiles"),
        ),
        ("grid, Unlabeled, most useful", get("tab=unlabeled&sort=useful")),
        ("grid, Unlabeled, useful, after 50 %", get(f"tab=unlabeled&sort=useful&{middle}")),
        ("grid, To Be Confirmed", get("tab=suggested")),
        ("grid, To Be Confirmed, after 50 %", get(f"tab=suggested&{middle}")),
        ("filter: suggestion, above 0.9", by_group),
        ("filter: label", by_label),
        ("filter: not a label, not blurred", get(f"tab=labeled&notlabel={world.labels[0]}")),
        ("filter: dark", get("tab=all&check=dark")),
        ("order: file name", get("tab=all&sort=name")),
        ("search: file name", get("tab=all&q=photo-00123")),
        ("label 200 selected images", label),
    ]


def report(world: World, port: int, users: int, rounds: int, pause: float) -> None:
    words = f"{rounds} requests each, {pause:g} s pause, milliseconds"
    print(f"\n{len(world.images):,} images, users: {users}, {words}")
    print(ROW.format("", "p50", "p95", "most", "x floor"))
    floor = 0.0
    for name, asking in requests_of(world):
        times = sorted(in_parallel(world, port, users, rounds, asking, pause))
        p50, p95 = statistics.median(times), times[int(0.95 * (len(times) - 1))]
        floor = floor or p50
        figures = (f"{p50:.0f}", f"{p95:.0f}", f"{times[-1]:.0f}", f"{p50 / floor:.1f}")
        print(ROW.format(name, *figures), flush=True)


def in_parallel(
    world: World, port: int, users: int, rounds: int, asking: Asking, pause: float
) -> list[float]:
    times: list[float] = []
    problems: list[Exception] = []

    def work(user: int) -> None:
        browser, chance = Browser(port, world.sessions[user]), random.Random(user)
        try:
            asking(browser, user)  # connects and warms up
            for turn in range(1, rounds + 1):
                time.sleep(pause * chance.uniform(0.5, 1.5))
                times.append(asking(browser, user + users * turn))
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(user,)) for user in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return times


if __name__ == "__main__":
    main()

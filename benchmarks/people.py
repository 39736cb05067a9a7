"""Fifty people at work on one machine for ten minutes: labelers, managers and programs that call a service.

    python -m benchmarks.people [--labelers 25] [--managers 15] [--callers 10] [--minutes 10]
        [--images 20000] [--training] [--postgres]

starts the real product in a folder of its own. The people share its sample project, which gets `--images`
more images (rows without files; only thumbnails of the sample are loaded). Labelers load the grid and its
thumbnails, enlarge an image, label ten at a time, and report every five seconds that they are there, as the
page does. Managers look through the pages of the project. Everybody waits 1 to 5 s between two pages; a
program calls a service once a second. `--training` trains the sample project meanwhile. `--postgres` takes a
stock PostgreSQL of this machine instead of SQLite.

It prints requests, failures, p50, p95 and the slowest of each page, in ms of whole requests, the share of the
processors that was in use, and the memory of the product. Absolute figures need a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from benchmarks.flowers import start_training
from benchmarks.machines import Browser, Times, red_picture, upload_body
from benchmarks.shared_servers import Postgres
from tests.supervisor_process import ROOT, Product

SETUP_SCRIPT = """
import json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
import django
django.setup()
from django.test import Client
from projects.models import Image, Membership, Project, Role
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import give_bundle
from training.models import Status
from training.serving import deploy
project = Project.objects.get(name="handwritten-digits")
sample = list(project.images.values_list("pk", "sha256"))
Image.objects.bulk_create([
    Image(project=project, sha256=f"{n:064x}", name=f"photo-{n:06d}.jpg", format="JPEG", width=640,
          height=480, size_bytes=100_000, brightness=float(n * 13 % 250), sharpness=float(n * 17 % 900))
    for n in range(int(sys.argv[1]))], batch_size=2000)
colours = make_project("colours", images=0, team=project.team)
version = make_version(colours, 1, Status.COMPLETED, accuracy=0.9)
give_bundle(version)
service, token = deploy.deploy(version, make_user("alice"), None)
deploy.bring_up(str(service.pk))
sessions = []
for number in range(int(sys.argv[2])):
    user = make_user(f"person-{number}")
    Membership.objects.create(team=project.team, user=user, role=Role.MANAGER)
    client = Client()
    client.force_login(user)
    sessions.append(client.cookies["sessionid"].value)
print(json.dumps({
    "project": project.pk, "team": project.team_id, "service": str(service.pk), "token": token.plain,
    "service_page": f"/projects/{version.project_id}/deploy-service/{service.pk}/", "sessions": sessions,
    "images": [pk for pk, _ in sample], "files": [sha256 for _, sha256 in sample],
    "labels": list(project.labels.values_list("name", flat=True)),
}))
"""
THUMBNAILS = 30  # of the first screen
PRESENCE_EVERY_S = 5.0


def wait() -> None:
    time.sleep(random.uniform(1, 5))


class Labeler:
    """Loads the grid, then labels some images of it; the page reports that somebody is there."""

    def __init__(self, browser: Browser, facts: dict[str, Any]) -> None:
        self.browser, self.facts = browser, facts
        self.project = f"/projects/{facts['project']}"
        self.reported_at = 0.0

    def act(self) -> None:
        tab = random.choice(["all", "unlabeled", "labeled"])
        self.browser.get("Label Data", f"{self.project}/label-data/?tab={tab}")
        start = random.randrange(len(self.facts["files"]) - THUMBNAILS)
        for sha256 in self.facts["files"][start : start + THUMBNAILS]:
            self.browser.get("thumbnail", f"{self.project}/thumbnails/{sha256}.webp")
        for _ in range(5):
            wait()
            self._report()
            image = random.choice(self.facts["images"])
            self.browser.get("enlarged image", f"{self.project}/images/{image}/file/")
            chosen = random.sample(self.facts["images"], 10)
            form = {"images": ",".join(map(str, chosen)), "add": random.choice(self.facts["labels"])}
            self.browser.post("label ten images", f"{self.project}/label-data/label/?tab={tab}", form)

    def _report(self) -> None:
        if time.monotonic() - self.reported_at > PRESENCE_EVERY_S:
            self.reported_at = time.monotonic()
            self.browser.post("presence", f"{self.project}/people/here/", {"image": "", "since": "0"})


class Manager:
    """Looks through the pages of the project, one after the other."""

    def __init__(self, browser: Browser, facts: dict[str, Any]) -> None:
        project, service = f"/projects/{facts['project']}", facts["service_page"]
        self.browser = browser
        self.pages = {
            "Projects": "/projects/",
            "Label Data": f"{project}/label-data/",
            "Check Data": f"{project}/check/",
            "People": f"{project}/people/",
            "History": f"{project}/history/",
            "Datasets": f"{project}/datasets/",
            "Transfers": f"{project}/transfers/",
            "Train Model": f"{project}/train-model/",
            "Training Configuration": f"{project}/train-model/configure/",
            "Deploy Service": f"{project}/deploy-service/",
            "service": service,
            "Monitoring": f"{service}monitoring/",
            "Members": f"/teams/{facts['team']}/members/",
        }
        if facts["is_training"]:
            self.pages["Training Details"] = f"{project}/train-model/1/"

    def act(self) -> None:
        for name in random.sample(list(self.pages), len(self.pages)):
            self.browser.get(name, self.pages[name])
            wait()


class Program:
    """Calls the service once a second."""

    def __init__(self, browser: Browser, facts: dict[str, Any]) -> None:
        self.browser, self.facts = browser, facts
        self.body = upload_body("images", red_picture())

    def act(self) -> None:
        began = time.monotonic()
        headers = {"X-Auth-Token": self.facts["token"]}
        self.browser.send("service call", f"/v1/infers/{self.facts['service']}", self.body, headers)
        time.sleep(max(0, 1 - (time.monotonic() - began)))


def people(options: argparse.Namespace, facts: dict[str, Any], port: int, times: Times) -> list[Any]:
    sessions = iter(facts["sessions"])
    signed_in = [Browser(port, times, next(sessions)) for _ in range(options.labelers + options.managers)]
    found: list[Any] = [Labeler(browser, facts) for browser in signed_in[: options.labelers]]
    found += [Manager(browser, facts) for browser in signed_in[options.labelers :]]
    return found + [Program(Browser(port, times), facts) for _ in range(options.callers)]


def work(person: Any, is_over: Callable[[], bool]) -> None:
    time.sleep(random.uniform(0, 5))  # they do not come all at once
    while not is_over():
        person.act()


def memory_mb(product: Product) -> float:
    """Private and shared memory of all processes of the product; what several share counts once."""
    found = psutil.Process(product.process.pid).children(recursive=True)
    bytes_of: list[int] = [
        process.memory_full_info().pss for process in [psutil.Process(product.process.pid), *found]
    ]
    return sum(bytes_of) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labelers", type=int, default=25)
    parser.add_argument("--managers", type=int, default=15)
    parser.add_argument("--callers", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exeml-people-")))
        database = {"DATABASE_URL": stack.enter_context(Postgres(folder)).url} if options.postgres else {}
        product = stack.enter_context(Product(folder / "data", **database))
        count = options.labelers + options.managers
        command = [sys.executable, "-c", SETUP_SCRIPT, str(options.images), str(count)]
        made = subprocess.run(command, cwd=ROOT, env=product.environment, capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(made.stderr)
        facts = {**json.loads(made.stdout.splitlines()[-1]), "is_training": options.training}
        if options.training:
            product.sign_in()
            start_training(product, facts["project"], str(max(0.1, options.minutes / 60)))
        measure(options, facts, product)


def measure(options: argparse.Namespace, facts: dict[str, Any], product: Product) -> None:
    times, end = Times(), threading.Event()
    crowd = people(options, facts, product.port, times)
    threads = [threading.Thread(target=work, args=(person, end.is_set), daemon=True) for person in crowd]
    psutil.cpu_percent()
    for thread in threads:
        thread.start()
    end.wait(options.minutes * 60)
    busy, memory = psutil.cpu_percent(), memory_mb(product)
    end.set()
    for thread in threads:
        thread.join(60)
    times.show()
    requests = sum(map(len, times.ms.values()))
    print(
        f"{len(crowd)} people, {options.minutes:g} minutes, {requests} requests, {psutil.cpu_count()} cores"
    )
    print(f"processors in use, this program's included: {busy:.0f} %; memory of the product: {memory:.0f} MB")


if __name__ == "__main__":
    main()

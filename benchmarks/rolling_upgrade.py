"""Two web machines behind a load balancer are restarted one after the other, while people and programs call.

    python -m benchmarks.rolling_upgrade [--rounds 2] [--drain 4] [--callers 4] [--people 4] [--no-checks]

starts a stock PostgreSQL, a Redis, an S3 and two web machines (`up` with EXEML_ONLY=web,short,cron) in
folders of their own, and a service. Callers send pictures to the service, visitors load pages, labelers
label, each with a pause of a tenth of a second. In every round each machine gets SIGTERM, ends, and is
started again. It prints requests, failures (no answer, or another status than 200), p50, p95 and the slowest.
With `--no-checks` the load balancer does not ask `/readyz`.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machines import Browser, LoadBalancer, Times, red_picture, upload_body, wait_until
from benchmarks.shared_servers import KEYS, Postgres, Redis, Storage
from tests.supervisor_process import ROOT, Product

PAUSE_S = 0.1
SETUP_SCRIPT = """
import json, os, tempfile
from pathlib import Path
os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
import django
django.setup()
from django.core.files import File
from django.core.files.storage import default_storage
from django.test import Client
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import write_colour_bundle
from training.models import Status
from training.serving import deploy
project = make_project("upgrade", labels=2, images=50, unlabeled=100)
version = make_version(project, 1, Status.COMPLETED)
with tempfile.TemporaryDirectory() as folder:
    bundle = Path(folder) / "bundle"
    write_colour_bundle(bundle)
    for path in bundle.iterdir():
        with path.open("rb") as file:
            default_storage.save(f"{version.folder}/bundle/{path.name}", File(file))
service, token = deploy.deploy(version, make_user("alice"), None)
deploy.bring_up(str(service.pk))
client = Client()
client.force_login(make_user("alice"))
print(json.dumps({
    "project": project.pk, "service": str(service.pk), "token": token.plain,
    "images": list(project.images.values_list("pk", flat=True)), "session": client.cookies["sessionid"].value,
}))
"""


def clients(facts: dict[str, Any], port: int, times: Times, options: Any) -> list[Callable[[], None]]:
    """One function for each client that sends its next request."""
    project, images = f"/projects/{facts['project']}", facts["images"]
    pages = [f"{project}/label-data/", f"{project}/deploy-service/", "/projects/", f"{project}/history/"]
    picture = upload_body("images", red_picture())

    def call(browser: Browser) -> None:
        headers = {"X-Auth-Token": facts["token"]}
        browser.send("service call", f"/v1/infers/{facts['service']}", picture, headers)

    def visit(browser: Browser) -> None:
        browser.get("page", random.choice(pages))

    def label(browser: Browser) -> None:
        form = {"images": str(random.choice(images)), "add": f"label-{random.randrange(2)}"}
        browser.post("label an image", f"{project}/label-data/label/?tab=all", form)

    counts = {call: options.callers, visit: options.people, label: options.people}
    return [
        partial(action, Browser(port, times, facts["session"]))
        for action, count in counts.items()
        for _ in range(count)
    ]


def repeat(action: Callable[[], None], is_over: Callable[[], bool]) -> None:
    while not is_over():
        action()
        time.sleep(PAUSE_S)


def restart(machine: Product, balancer: LoadBalancer, has_checks: bool) -> tuple[float, float]:
    """Seconds that the machine took to end, and to be back."""
    began = time.monotonic()
    machine.process.send_signal(signal.SIGTERM)
    machine.process.wait(120)
    ended = time.monotonic() - began
    machine.__enter__()
    if has_checks:
        wait_until(lambda: balancer.ready[machine.port], 120)
    return ended, time.monotonic() - began - ended


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--drain", type=int, default=4, help="EXEML_DRAIN_S")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--people", type=int, default=4, help="visitors, and as many labelers")
    parser.add_argument("--no-checks", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exeml-upgrade-")))
        shared = {
            "DATABASE_URL": stack.enter_context(Postgres(folder)).url,
            "REDIS_URL": stack.enter_context(Redis(folder)).url,
            "STORAGE_URL": stack.enter_context(Storage()).url,
            "EXEML_SECRET_KEY": "benchmark" * 6,
            "EXEML_ONLY": "web,short,cron",
            "EXEML_DRAIN_S": str(options.drain),
            "EXEML_LOG_LEVEL": "ERROR",
            **KEYS,
        }
        for name in ("one", "two"):
            (folder / name).mkdir()
            (folder / name / "sample-made").touch()  # the sample project would take a minute to store
        machines = [stack.enter_context(Product(folder / name, **shared)) for name in ("one", "two")]
        command = [sys.executable, "-c", SETUP_SCRIPT]
        made = subprocess.run(
            command, cwd=ROOT, env=machines[0].environment, capture_output=True, text=True, check=True
        )
        facts = json.loads(made.stdout.splitlines()[-1])
        balancer = LoadBalancer([machine.port for machine in machines], not options.no_checks)
        stack.callback(balancer.end)
        if not options.no_checks:
            wait_until(lambda: all(balancer.ready.values()), 60)
        upgrade(machines, balancer, facts, options)


def upgrade(machines: list[Product], balancer: LoadBalancer, facts: dict[str, Any], options: Any) -> None:
    times, end = Times(), threading.Event()
    threads = [
        threading.Thread(target=repeat, args=(action, end.is_set))
        for action in clients(facts, balancer.port, times, options)
    ]
    for thread in threads:
        thread.start()
    time.sleep(3)
    for number in range(options.rounds):
        for name, machine in zip(("one", "two"), machines, strict=True):
            ended, back = restart(machine, balancer, not options.no_checks)
            print(f"round {number + 1}: machine {name} ended in {ended:.1f} s, was back {back:.1f} s later")
            time.sleep(2)
    end.set()
    for thread in threads:
        thread.join()
    times.show()


if __name__ == "__main__":
    main()

"""The product with a trained model behind two services, as the serving benchmarks need it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.calling import Caller
from tests.supervisor_process import Product

SETUP_SCRIPT = """
import os, sys, shutil, json, django
os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
django.setup()
from django.core.files.storage import default_storage
from tests.factories import PASSWORD, make_project, make_user, make_version
from training.models import Service, Status
from training.serving import deploy
project = make_project("benchmark", labels=2, images=0)
versions = []
for number, bundle in enumerate(sys.argv[1:], 1):
    version = make_version(project, number, Status.COMPLETED)
    shutil.copytree(bundle, default_storage.path(version.folder + "/bundle"))
    versions.append(version)
found = []
for name in ("calls", "stops"):
    service, token = deploy.deploy(versions[0], make_user("alice"), None)
    deploy.set_collecting(service, name == "stops", 30, make_user("alice"))
    deploy.bring_up(str(service.pk))
    found.append([str(service.pk), token.plain, project.pk, PASSWORD])
print(json.dumps(found))
"""
ACTION_SCRIPT = """
import os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
django.setup()
from django.contrib.auth.models import User
from training.models import Service, TrainingVersion, CollectedCall
from training.serving import deploy, rollout
user = User.objects.get(username="alice")
service = Service.objects.get(pk=sys.argv[2])
if sys.argv[1] == "change":
    other = service.project.training_versions.exclude(pk=service.training_version_id).get()
    rollout.change_version(service, other, user)
    rollout.change_over(str(service.pk))
elif sys.argv[1] == "stop":
    deploy.stop(service, user)
else:
    print(CollectedCall.objects.filter(service=service).exclude(verdict="").count())
"""


@dataclass(frozen=True)
class DeployedService:
    """A service: its number, its token, the project it is in, the password of its manager alice."""

    product: Product
    pk: str
    token: str
    project: int
    password: str

    @property
    def path(self) -> str:
        return f"/v1/infers/{self.pk}"

    @property
    def page(self) -> str:
        return f"/projects/{self.project}/deploy-service/{self.pk}/"

    def caller(self) -> Caller:
        return Caller(self.product.port, self.path, self.token)


def deploy_two_services(product: Product, bundle: Path, other: Path) -> list[DeployedService]:
    """V001 is `bundle`, V002 is `other`; two services run V001, the second one collects its calls."""
    command = [sys.executable, "-c", SETUP_SCRIPT, str(bundle), str(other)]
    done = subprocess.run(command, env=product.environment, capture_output=True, text=True, check=True)
    return [DeployedService(product, *one) for one in json.loads(done.stdout.splitlines()[-1])]


def run_action(product: Product, *arguments: str) -> str:
    command = [sys.executable, "-c", ACTION_SCRIPT, *arguments]
    done = subprocess.run(command, env=product.environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def web_workers(product: Product) -> list[int]:
    """The processes of gunicorn that answer: children of its first process."""
    web = [(pid, parent) for pid, parent, command in _processes() if "gunicorn exeml_site" in command]
    ours = {pid for pid, parent in web if parent == product.process.pid}
    return [pid for pid, parent in web if parent in ours]


def kill_worker(product: Product, queue: str) -> int:
    """SIGKILL to the workers of a queue and to their children; how many processes."""
    found, ours = _processes(), {product.process.pid}
    for _ in range(4):  # generations
        ours |= {pid for pid, parent, _ in found if parent in ours}
    doomed = [pid for pid, _, command in found if pid in ours and f"rqworker {queue}" in command]
    doomed += [pid for pid, parent, _ in found if parent in doomed and pid not in doomed]
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    return len(doomed)


def _processes() -> list[tuple[int, int, str]]:
    found = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in found.splitlines()[1:]]
    return [(int(pid), int(parent), command) for pid, parent, command in rows]


def resident_mb(product: Product) -> float:
    total = 0
    for pid in web_workers(product):
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.split("VmRSS:")[1].split()[0])
    return round(total / 1024, 1)

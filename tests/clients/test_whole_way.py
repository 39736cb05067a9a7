"""From an empty team to a prediction: the programs of docs/api.md as they stand, on the real supervisor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import exeml
from tests.engine.generated_images import paint
from tests.supervisor_process import ROOT, Product

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "api.md"
SOURCE = ROOT / "clients" / "python" / "src"
LABELS = {"roses": "red", "tulips": "blue"}  # and what tells their images apart
WITHIN_S = 900  # each of them: a training of a minute, on a machine that does other things
PEOPLE = """
import json
from django.contrib.auth.models import User
from projects.models import Membership, Role, Scope, Team
from projects.sign_in import access_tokens
tokens = {}
for name in ("curl", "python", "cli", "generated"):
    user, team = User.objects.create_user(name), Team.objects.create(name=name)
    Membership.objects.create(team=team, user=user, role=Role.MANAGER)
    tokens[name] = access_tokens.create(user, name, Scope.values, by=user)[1].plain
print(json.dumps(tokens))
"""


@dataclass(frozen=True)
class Place:
    """A running product with an empty team and a token for each of the ways."""

    product: Product
    tokens: Mapping[str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, give_database: Callable[[Path], Path]) -> Iterator[Place]:
    folder = give_database(tmp_path_factory.mktemp("whole-way") / "data")
    (folder / "sample-made").touch()  # the sample project would be read by the labeling worker for a minute
    with Product(folder) as product:
        command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", PEOPLE]
        made = subprocess.run(
            command,
            cwd=ROOT,
            env=product.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        yield Place(product, json.loads(made.stdout.splitlines()[-1]))


def programs(section: str, language: str) -> str:
    """The blocks of a section, one after the other. Those that install something are left out."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return "\n".join(block for block in blocks if not block.startswith("pip install"))


def work_folder(folder: Path) -> Path:
    for label, look in LABELS.items():
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(10):
            paint(look, number).save(folder / "photos" / label / f"{label}-{number}.png")
    paint("red", 99).save(folder / "unseen.jpg", "JPEG")
    (folder / "bin").mkdir()
    command = folder / "bin" / "exeml"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m exeml "$@"\n')
    command.chmod(0o755)
    return folder


def stop_early(place: Place, name: str, ended: threading.Event) -> None:
    """Stop the training once there is a model, as a person may who is content with it."""
    with exeml.connect(place.product.url, place.tokens[name]) as client:
        while not ended.wait(1):
            for project in client.projects():
                for version in project.versions(status="Running"):
                    progress = version.refresh().progress
                    if progress and progress.best_accuracy is not None:
                        version.stop()
                        return


def run(place: Place, name: str, folder: Path, *command: str) -> str:
    """What the program prints. It gets the variables that the page names, and `exeml` on its path."""
    ended = threading.Event()
    watch = threading.Thread(target=stop_early, args=(place, name, ended))
    watch.start()
    try:
        return _run(place, name, folder, *command)
    finally:
        ended.set()
        watch.join()


def _run(place: Place, name: str, folder: Path, *command: str) -> str:
    environment = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "HOME": str(folder),
        "EXEML_URL": place.product.url,
        "EXEML_TOKEN": place.tokens[name],
    }
    result = subprocess.run(
        command,
        cwd=work_folder(folder),
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def test_curl(place: Place, tmp_path: Path) -> None:
    program = programs("curl", "sh")
    printed = run(place, "curl", tmp_path, "bash", "-euo", "pipefail", "-c", program)
    assert printed.splitlines()[-1] == "roses"
    assert "'low': " in printed, "the accuracy comes with its interval"


def test_python(place: Place, tmp_path: Path) -> None:
    printed = run(place, "python", tmp_path, sys.executable, "-c", programs("Python", "python"))
    lines = printed.splitlines()
    assert lines[0] == "20 images" and lines[-1] == "20"
    assert "roses" in lines and "['roses', 'roses']" in lines
    assert (tmp_path / "flowers.zip").stat().st_size > 1000
    assert any(line.startswith("Completed") for line in lines)


def test_command_line(place: Place, tmp_path: Path) -> None:
    program = programs("Command line", "sh")
    printed = run(place, "cli", tmp_path, "bash", "-euo", "pipefail", "-c", program)
    assert "20 stored" in printed and "Completed" in printed
    assert re.search(r"unseen\.jpg +roses +", printed)
    stored = tmp_path / ".config" / "exeml" / "config.json"
    assert stored.stat().st_mode & 0o777 == 0o600


def test_generated_client(place: Place, tmp_path: Path) -> None:
    """The generator warns of nothing, and its functions alone go the whole way."""
    section = "Generated clients"
    program = f"{programs(section, 'sh')}\npython3 - <<'END'\n{programs(section, 'python')}\nEND"
    printed = run(place, "generated", tmp_path, "bash", "-euo", "pipefail", "-c", program)
    lines = printed.splitlines()
    assert "20 labeled" in lines and lines[-1] == "roses"
    assert any(line.startswith("MetricOut(") for line in lines), "the accuracy comes with its interval"

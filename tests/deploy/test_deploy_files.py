"""The files of deploy/ agree with each other and with the program. `.ci/install` runs what can be run."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from exeml_site.supervisor.programs import CALLS_END_S, PARTS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
README = (DEPLOY.parent / "README.md").read_text()
SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
NOT_READ_BY_US = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}  # boto3 does


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_every_container_says_when_it_is_ready_and_waits_for_those_that_exist() -> None:
    services = compose()["services"]
    assert set(services) == {"web", "worker", "database", "queue", "storage"}
    for name, service in services.items():
        assert ("healthcheck" in service) != (name == "worker"), name  # which answers at no port
        awaited = service.get("depends_on", {})
        assert all(need == {"condition": "service_healthy"} for need in awaited.values())
        assert set(awaited) <= {one for one in services if "healthcheck" in services[one]}


def test_images_of_others_have_a_version() -> None:
    for service in compose()["services"].values():
        assert "build" in service or re.search(r":\d", service["image"]), service["image"]


def test_volumes_are_declared_and_no_two_containers_share_a_data_folder() -> None:
    described = compose()
    named = [
        volume.partition(":")[0]
        for service in described["services"].values()
        for volume in service["volumes"]
        if not volume.startswith("/")
    ]
    assert sorted(named) == sorted(described["volumes"])


@pytest.mark.parametrize("name", ["web", "worker"])
def test_containers_of_the_program_have_settings_that_it_reads_and_no_rights(name: str) -> None:
    service = compose()["services"][name]
    unknown = [one for one in service["environment"] if f"`{one}`" not in README]
    assert set(unknown) <= NOT_READ_BY_US
    assert set(service["environment"]["EXEML_ONLY"].split(",")) <= set(PARTS)
    assert service["cap_drop"] == ["ALL"] and service["read_only"] is True and "user" not in service
    drain = int(service["environment"].get("EXEML_DRAIN_S", 0))
    assert seconds(service["stop_grace_period"]) > drain + CALLS_END_S + 10


def test_together_the_containers_run_everything() -> None:
    run = [
        part
        for name in ("web", "worker")
        for part in compose()["services"][name]["environment"]["EXEML_ONLY"].split(",")
    ]
    assert sorted(run) == sorted(PARTS)


def test_secrets_are_random_and_are_all_that_the_compose_file_asks_for() -> None:
    def made() -> dict[str, str]:
        script = subprocess.run([DEPLOY / "secrets.sh"], capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in script.stdout.splitlines())

    first, second = made(), made()
    asked = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert set(first) == asked
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", value) for value in first.values())  # they stand in URLs
    assert not set(first.values()) & set(second.values())


def test_the_gpu_file_changes_a_service_that_there_is() -> None:
    changed = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text())["services"]
    assert set(changed) <= set(compose()["services"])
    [device] = changed["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_image_is_built_by_the_script_and_runs_without_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert any(
        "deploy/install.sh --to /opt/exeml --data /var/lib/exeml --user exeml" in line for line in lines
    )
    assert lines.index("USER exeml") < next(n for n, line in enumerate(lines) if line.startswith("CMD"))
    assert all(
        not line.startswith("RUN") or not line.endswith("\\") for line in lines
    )  # .ci/install reads them


def test_the_service_runs_without_root_and_has_time_to_end() -> None:
    unit = (DEPLOY / "systemd/exeml.service").read_text()
    values = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w+=", line))
    assert values["User"] == "@user@" and values["UMask"] == "0077" and values["NoNewPrivileges"] == "yes"
    assert values["CapabilityBoundingSet"] == "" and values["KillMode"] == "mixed"
    example = re.findall(r"EXEML_DRAIN_S=(\d+)", (DEPLOY / "systemd/settings").read_text())
    assert int(values["TimeoutStopSec"]) > max(map(int, example)) + CALLS_END_S + 10


def test_example_settings_are_settings() -> None:
    named = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (DEPLOY / "systemd/settings").read_text(), re.MULTILINE)
    assert [name for name in named if f"`{name}`" not in README and name not in NOT_READ_BY_US] == []


@pytest.mark.parametrize(
    ("file", "size"), [("Caddyfile", r"max_size (\d+)GiB"), ("nginx.conf", r"max_body_size (\d+)g")]
)
def test_proxies_let_the_largest_body_through_and_ask_what_the_program_answers(file: str, size: str) -> None:
    text = (DEPLOY / file).read_text()
    found = re.search(size, text)
    # nginx's g is binary; Caddy's GB is not.
    assert found and int(found[1]) * 1024**3 >= settings.MAX_REQUEST_BYTES
    assert "X-Forwarded-Proto" in text or file == "Caddyfile"  # which sends it by itself
    assert set(re.findall(r"EXEML_[A-Z_]+", text)) <= set(re.findall(r"`(EXEML_[A-Z_]+)`", README))


def test_nothing_sets_a_path_of_the_loader() -> None:
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert not any("LD_LIBRARY_PATH" in text or "LD_PRELOAD" in text for text in texts)


@pytest.mark.parametrize("script", ["install.sh", "wheelhouse.sh", "secrets.sh"])
def test_scripts_can_be_called_and_are_valid(script: str) -> None:
    path = DEPLOY / script
    assert path.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", path], check=True)


def install(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DEPLOY / "install.sh", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_the_installation_explains_itself_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    assert "--wheelhouse FOLDER" in install("--help").stdout
    for options, sentence in (
        (["--nonsense", "x"], "There is no option --nonsense."),
        (["--to"], "--to needs a value."),
        (["--wheelhouse", str(tmp_path / "none")], "There is no folder"),
        (["--to", str(tmp_path / "to"), "--python", "/bin/false"], "exeml needs Python 3.11 or newer"),
    ):
        refused = install(*options)
        assert refused.returncode == 1 and sentence in refused.stderr

"""Machines report themselves, and what must be the same on all of them is compared."""

from __future__ import annotations

import io
import socket
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from exeml_site.health.program import program_name
from exeml_site.lib.display import date_time_text
from projects.models import Machine
from projects.operators import agreement
from projects.operators.agreement import agreed_settings, comparable
from projects.operators.alarms import machine_alarms
from projects.operators.machines import differences
from tests.architecture.test_house_rules import read_variables

pytestmark = pytest.mark.django_db
GIB = 1 << 30


def make_machine(host: str = "alpha", ago: timedelta = timedelta(), **fields: Any) -> Machine:
    now = timezone.now()
    fields = {"program": "1.0 (aaaa)", "disk_free": 50 * GIB, "disk_total": 100 * GIB, **fields}
    fields.setdefault("data_folder", "/srv/exeml")
    return Machine.objects.create(host=host, started_at=now - ago, seen_at=now - ago, **fields)


def report(*parts: str) -> list[str]:
    """What `up` prints of the others."""
    out = io.StringIO()
    call_command("report_machine", parts=list(parts or ["web", "short"]), stdout=out)
    return out.getvalue().splitlines()


def test_a_machine_has_one_row_that_says_what_it_is_and_runs(settings: Any) -> None:
    assert report("web", "short") == []
    assert report("short") == []
    machine = Machine.objects.get()
    assert (machine.host, machine.data_folder) == (socket.gethostname(), str(settings.DATA_DIR))
    assert (machine.program, machine.parts) == (program_name(), ["short"])
    assert machine.cores > 0 and 0 < machine.disk_free < machine.disk_total
    assert machine.disk_usage["database"] >= 0 and "temporary files" in machine.disk_usage
    assert machine.is_living


def test_machines_that_are_gone_are_not_compared_and_forgotten_after_days() -> None:
    make_machine("old", timedelta(days=4))
    make_machine("away", timedelta(minutes=6), program="0.9 (bbbb)")
    assert report() == []
    assert set(Machine.objects.values_list("host", flat=True)) == {"away", socket.gethostname()}
    assert not Machine.objects.get(host="away").is_living


def test_what_another_machine_has_differently_is_printed_at_the_start(settings: Any) -> None:
    settings.EXEML_MAX_IMAGE_MB = 20
    report()
    Machine.objects.update(host="beta", program="0.9 (bbbb)")
    settings.EXEML_MAX_IMAGE_MB = 50
    version, limit = report()
    here = socket.gethostname()
    assert version.startswith("Different versions of the program are running: ")
    assert f"0.9 (bbbb) on beta and {program_name()} on {here}" in version
    assert limit == f"EXEML_MAX_IMAGE_MB differs between machines: 20 on beta and 50 on {here}."


def test_texts_are_compared_and_never_shown() -> None:
    roots = comparable("EXEML_SOURCE_ROOTS", ["/pictures"])
    machines = [make_machine(host, settings={"EXEML_SOURCE_ROOTS": roots}) for host in ("alpha", "beta")]
    machines.append(make_machine("gamma", settings={"EXEML_SOURCE_ROOTS": ""}))
    machines.append(make_machine("delta", settings={"EXEML_SOURCE_ROOTS": comparable("x", "/other")}))
    assert differences(machines) == [
        "EXEML_SOURCE_ROOTS differs between machines: one value on alpha and beta, not set on gamma and "
        "another value on delta."
    ]


def test_no_secret_is_stored(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SECRET_KEY = "a key that nobody must read"
    settings.EXEML_METRICS_TOKEN = "another secret"
    monkeypatch.setenv("EXEML_OIDC_CLIENT_SECRET", "a third secret")
    settings.REDIS_URL = "redis://:password@redis.example.org:6379/2"
    settings.STORAGE_URL = "s3://bucket/prefix/?endpoint=https://host"
    stored = agreed_settings(["web"])
    assert stored["REDIS_URL"] == "redis.example.org:6379/2" and stored["STORAGE_URL"] == "s3://bucket/prefix"
    assert not [text for text in ("nobody", "another", "third", "password") if text in str(stored)]
    secrets = ("EXEML_SECRET_KEY", "EXEML_METRICS_TOKEN", "EXEML_OIDC_CLIENT_SECRET")
    assert all(agreement.is_hash(stored[name]) for name in secrets)


def test_what_only_web_servers_read_is_compared_among_them(settings: Any) -> None:
    settings.HTTPS = True
    web = agreed_settings(["web"])
    worker = agreed_settings(["training"])
    assert web["EXEML_HTTPS"] == "1" and "EXEML_HTTPS" not in worker
    assert {"EXEML_SECRET_KEY", "EXEML_SOURCE_ROOTS", "EXEML_MAX_IMPORT_GB", "STORAGE_URL"} <= set(worker)
    assert "EXEML_ENGINE_THREADS" not in web
    assert differences([make_machine("a", settings=web), make_machine("b", settings=worker)]) == []


def test_every_setting_is_compared_or_belongs_to_one_machine() -> None:
    compared = agreement.EVERYWHERE | agreement.OF_WEB_SERVERS
    assert read_variables() - compared == read_variables() & agreement.OF_ONE_MACHINE
    assert not compared & agreement.OF_ONE_MACHINE and not agreement.EVERYWHERE & agreement.OF_WEB_SERVERS
    assert set(agreed_settings(["web"])) == compared


def test_two_data_folders_of_one_host_are_told_apart() -> None:
    first = make_machine(settings={"EXEML_BIN_DAYS": "30"})
    second = make_machine(settings={"EXEML_BIN_DAYS": "7"}, data_folder="/srv/other")
    assert "30 on alpha (/srv/exeml) and 7 on alpha (/srv/other)" in differences([first, second])[0]


def test_alarms_of_machines() -> None:
    low = make_machine("low", disk_free=9 * GIB)
    away = make_machine("away", timedelta(hours=1), disk_free=1 * GIB, program="other")
    alarms = [alarm.sentence for alarm in machine_alarms([low, away], "ok")]
    assert alarms[0] == "The disk of low (/srv/exeml) has 9 % left."
    assert alarms[1:] == [f"away (/srv/exeml) has not reported since {date_time_text(away.seen_at)}."]
    assert [alarm.section for alarm in machine_alarms([], "does not answer")] == ["storage"]

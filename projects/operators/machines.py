"""Each machine reports itself to the database, and is compared with the others that report."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache

from django.conf import settings
from django.utils import timezone
from django.utils.text import get_text_list

from exeml_site.health.program import program_name
from exeml_site.lib.gpu import has_gpu
from projects.models import Machine
from projects.operators.agreement import agreed_settings, is_hash
from projects.operators.disk import disk_usage

FORGOTTEN_AFTER = timedelta(days=3)
NOT_SET = ""
OTHERS = ("one value", "another value", "a third value")
_has_gpu = cache(has_gpu)  # PyTorch is asked once


def report(parts: list[str], started_at: datetime, further: Mapping[str, str] | None = None) -> None:
    """Write the row of this machine, and forget machines that have not reported for FORGOTTEN_AFTER.

    `further`: what must be the same everywhere beside the settings.
    """
    now, disk = timezone.now(), shutil.disk_usage(settings.DATA_DIR)
    fields = {
        "program": program_name(),
        "parts": parts,
        "settings": {**agreed_settings(parts), **(further or {})},
        "cores": len(os.sched_getaffinity(0)),
        "has_gpu": _has_gpu(),
        "disk_free": disk.free,
        "disk_total": disk.total,
        "disk_usage": disk_usage(),
        "started_at": started_at,
        "seen_at": now,
    }
    Machine.objects.update_or_create(
        host=socket.gethostname(), data_folder=str(settings.DATA_DIR), defaults=fields
    )
    Machine.objects.filter(seen_at__lt=now - FORGOTTEN_AFTER).delete()


def differences(machines: Iterable[Machine]) -> list[str]:
    """Sentences about what is not the same on these machines.

    A setting that only some parts read is compared among those that have them.
    """
    machines = list(machines)
    found = []
    programs = _by_value({machine: machine.program for machine in machines})
    if len(programs) > 1:
        where = [f"{program} on {_names(those, machines)}" for program, those in programs.items()]
        found.append(f"Different versions of the program are running: {_and(where)}.")
    for name in sorted({name for machine in machines for name in machine.settings}):
        values = {machine: machine.settings[name] for machine in machines if name in machine.settings}
        if len(by_value := _by_value(values)) > 1:
            found.append(f"{name} differs between machines: {_described(by_value, machines)}.")
    return found


def _by_value(values: Mapping[Machine, str]) -> dict[str, list[Machine]]:
    by_value: dict[str, list[Machine]] = {}
    for machine, value in values.items():
        by_value.setdefault(value, []).append(machine)
    return by_value


def _described(by_value: Mapping[str, list[Machine]], machines: list[Machine]) -> str:
    """“20 on alpha and 50 on beta”, or for hashes “one value on alpha and not set on beta”."""
    others = iter((*OTHERS, *["yet another value"] * len(by_value)))
    where = []
    for value, those in by_value.items():
        text = "not set" if value == NOT_SET else next(others) if is_hash(value) else value
        where.append(f"{text} on {_names(those, machines)}")
    return _and(where)


def _and(texts: list[str]) -> str:
    return get_text_list(texts, "and")


def _names(those: list[Machine], machines: list[Machine]) -> str:
    """Host names, with the data folder where a host runs the program twice."""
    hosts = [machine.host for machine in machines]
    return _and([str(machine) if hosts.count(machine.host) > 1 else machine.host for machine in those])

"""The worker of backups runs where EXEML_BACKUP_DIR is set, and the scheduler gives it its job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from exeml_site.environment import env_time

CODE = """
import django; django.setup()
from exeml_site import cron
from exeml_site.supervisor.programs import PARTS, programs
from rq.cron import _job_data_registry
print(*[program.name for program in programs(list(PARTS), None)])
print(*[job["queue_name"] for job in _job_data_registry if job["func"].__name__ == "back_up_when_due"])
"""


def started(tmp_path: Path, **more: str) -> list[str]:
    environment = {**os.environ, "EXEML_DATA": str(tmp_path), "DJANGO_SETTINGS_MODULE": "exeml_site.settings"}
    return subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment | more,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.split("\n")


@pytest.mark.slow
def test_the_worker_and_its_job_are_there_where_a_folder_is_named(tmp_path: Path) -> None:
    programs, queues, _ = started(tmp_path, EXEML_BACKUP_DIR=str(tmp_path))
    assert ("backups" in programs.split(), queues) == (True, "backups")
    programs, queues, _ = started(tmp_path, EXEML_BACKUP_DIR="")
    assert ("backups" in programs.split(), queues) == (False, "")


@pytest.mark.parametrize("text", ["25:00", "2 am", "2:00", "night"])
def test_a_time_that_is_none_ends_the_start(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXEML_BACKUP_TIME", text)
    with pytest.raises(ImproperlyConfigured, match=r"must be a time of day such as 02:00"):
        env_time("EXEML_BACKUP_TIME", "02:00")

"""The daily backup: when it is due, that it is verified, and which ones are kept."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from projects.backup import schedule
from projects.backup.status import last_backup
from projects.models import AuditEvent, Backup
from tests.factories import make_project

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.EXEML_BACKUP_DIR = str(tmp_path)
    settings.EXEML_BACKUP_KEEP = 2
    settings.EXEML_BACKUP_TIME = time(2)
    return tmp_path


@pytest.mark.parametrize(("hour", "due"), [(12, "2026-05-04 02:00"), (1, "2026-05-03 02:00")])
def test_a_backup_is_due_since_the_last_time_of_day(folder: Path, hour: int, due: str) -> None:
    now = NOON.replace(hour=hour)
    assert f"{schedule.due_since(now):%Y-%m-%d %H:%M}" == due


@pytest.mark.django_db(transaction=True)
def test_one_backup_a_day_is_made_verified_and_noted(folder: Path) -> None:
    make_project(images=1)  # without files: they are counted as missing
    for _ in range(2):
        schedule.back_up_when_due()
    made = Backup.objects.get()
    assert [path.name for path in folder.iterdir()] == [Path(made.path).name]
    assert made.verified_at is not None and made.vanished_count == 2
    assert AuditEvent.objects.get(kind="backup.made").details["is_scheduled"] is True
    status = last_backup()
    assert (status.last, status.failure, status.is_late) == (made, None, False)


@pytest.mark.django_db
def test_a_failed_backup_is_tried_again_an_hour_later(folder: Path, settings: Any) -> None:
    settings.EXEML_BACKUP_DIR = str(folder / "nowhere")
    settings.EXEML_BACKUP_TIME = (timezone.localtime() - timedelta(hours=3)).time()
    for _ in range(2):
        schedule.back_up_when_due()
    failed = Backup.objects.get()
    assert "does not exist" in failed.problem and last_backup().failure == failed and last_backup().is_late
    Backup.objects.update(started_at=timezone.now() - timedelta(minutes=61))
    schedule.back_up_when_due()
    assert Backup.objects.count() == 2


@pytest.mark.django_db
def test_no_backup_is_made_where_no_folder_is_named(
    folder: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EXEML_BACKUP_DIR = ""
    monkeypatch.chdir(folder)
    schedule.back_up_when_due()
    assert not Backup.objects.exists() and list(folder.iterdir()) == []


def test_the_newest_backups_are_kept_and_other_files_stay(folder: Path) -> None:
    names = [f"exeml-2026050{day}-020000.tar" for day in range(1, 6)]
    for name in [*names, "mine.tar", "exeml-20260501-020000.tar.not-verified"]:
        (folder / name).touch()
    schedule.delete_old(folder)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["exeml-20260501-020000.tar.not-verified", *names[3:], "mine.tar"]

"""A backup is restored into another installation, which then has the same rows and files."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.utils import timezone

from exeml_site.lib.errors import Refused
from exeml_site.supervisor.preflight import claim_folder
from projects.backup import create, restore
from projects.backup.archive import ArchiveReader, ArchiveWriter
from projects.backup.create import create_backup
from projects.backup.verify import verify_here
from projects.labels import actions
from projects.models import AuditEvent, Backup, Image, Project, Role
from projects.sign_in import access_tokens, service_accounts
from tests.factories import make_project, make_team, make_user, make_version
from tests.training.bundles import give_bundle
from training.models import TrainingVersion
from training.serving.backup_check import check_newest_model

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def project() -> Iterator[Project]:
    """Six labeled images and a Completed version with a model."""
    for folder in (settings.FILES_DIR, Path(settings.WORK_DIR)):
        shutil.rmtree(folder, ignore_errors=True)
    project = make_project(images=3, with_files=True)
    image = Image.objects.filter(project=project).first()
    actions.apply(project, [image.pk], add=["label-0"], by=make_user("bob"))
    give_bundle(make_version(project, status="Completed", accuracy=0.75))
    yield project
    shutil.rmtree(settings.FILES_DIR, ignore_errors=True)


def contents(path: Path) -> dict[str, bytes]:
    """Of every member with rows or of a stored file."""
    with path.open("rb") as file:
        archive = ArchiveReader(file)
        archive.check()
        return {
            member.name: archive.open(member).read()
            for member in archive.members()
            if member.name.startswith(("rows/", "files/", "secret-key"))
        }


def manage(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in another installation, with a SQLite database and files in `folder`."""
    environment = {**os.environ, "EXEML_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "exeml_site.settings"}
    environment["DATABASE_URL"] = ""
    return subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_an_installation_restored_elsewhere_has_the_same_rows_files_and_key(
    project: Project, tmp_path: Path
) -> None:
    counts = create_backup(tmp_path / "first.tar")
    assert (counts.rows["projects.image"], counts.vanished) == (6, [])
    elsewhere = tmp_path / "elsewhere"
    done = manage(elsewhere, "restore", str(tmp_path / "first.tar"))
    assert done.returncode == 0 and "files restored" in done.stdout, done.stderr
    again = manage(elsewhere, "backup", str(tmp_path / "second.tar"))
    assert again.returncode == 0, again.stderr
    first, second = contents(tmp_path / "first.tar"), contents(tmp_path / "second.tar")
    logged = {name: second.pop(name) for name in set(second) - set(first)}
    assert second == first
    (event,) = (gzip.decompress(content).decode() for content in logged.values())
    assert '"backup.restored"' in event and f'"{tmp_path / "first.tar"}"' in event


def test_verifying_restores_the_rows_and_loads_the_newest_model(project: Project, tmp_path: Path) -> None:
    out = io.StringIO()
    call_command("backup", str(tmp_path / "a.tar"), stdout=out)
    call_command("verify_backup", str(tmp_path / "a.tar"), stdout=out)
    assert "The backup is whole" in out.getvalue()
    assert "V001 of flowers, loads, and its self-test holds." in out.getvalue()
    made = Backup.objects.get()
    assert (made.file_count, made.problem) == (create_backup(tmp_path / "b.tar").files, "")
    event = AuditEvent.objects.get(kind="backup.made")
    assert (event.way, event.target, event.details["files"]) == ("command", made.path, made.file_count)
    assert event.details["is_scheduled"] is False


def test_a_backup_whose_newest_model_does_not_load_is_not_good(project: Project) -> None:
    asked: list[str] = []
    version = TrainingVersion.objects.get()
    default_storage.delete(f"{version.folder}/bundle/model.onnx")
    with pytest.raises(Refused, match=r"The backup is not good: the newest model, V001 of flowers, does not"):
        check_newest_model(asked.append)
    assert asked == [version.folder]


def test_a_file_that_vanished_is_counted_and_named(project: Project, tmp_path: Path) -> None:
    image = Image.objects.filter(project=project).first()
    default_storage.delete(image.file_name)
    counts = create_backup(tmp_path / "a.tar")
    assert (counts.vanished, counts.vanished_count) == ([image.file_name], 1)


def test_a_file_without_a_row_is_left_out(project: Project, tmp_path: Path) -> None:
    Image.objects.filter(project=project).first().delete()
    create_backup(tmp_path / "a.tar")
    originals = [name for name in contents(tmp_path / "a.tar") if name.startswith("files/images/")]
    assert len(originals) == 5


def test_a_restore_is_refused_before_anything_is_written(project: Project, tmp_path: Path) -> None:
    path, damaged = tmp_path / "a.tar", tmp_path / "damaged.tar"
    create_backup(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(CommandError, match="not empty: it has people and projects and stored files"):
        call_command("restore", str(path))
    with pytest.raises(CommandError, match="damaged"):
        call_command("restore", str(damaged), "--force")
    assert Image.objects.count() == 6 and default_storage.exists(Image.objects.first().file_name)
    with pytest.raises(Refused, match="must be a temporary one"):
        verify_here(path)


def test_nothing_is_restored_while_the_program_runs(tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    with claim_folder(settings.DATA_DIR), pytest.raises(CommandError, match="Stop it, then restore"):
        call_command("restore", str(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"migrations": [["projects", "0001_initial"], ["projects", "0999_future"]]},
            r"projects\.0999_future",
        ),
        ({"format_version": 2}, "its format is 2"),
        ({"format": "something"}, "not a backup of an installation"),
    ],
)
def test_the_backup_of_a_newer_program_is_refused(
    more: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    head = {"format": create.FORMAT, "format_version": 1, "program_version": "9.0", "migrations": [], **more}
    with (tmp_path / "a.tar").open("wb") as file:
        ArchiveWriter(file, head).end({"rows": {}, "files": 0})
    with (tmp_path / "a.tar").open("rb") as file, pytest.raises(Refused, match=sentence):
        restore.BackupArchive(file)


def test_the_row_of_a_backup_that_failed_says_why(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="does not exist"):
        call_command("backup", str(tmp_path / "nowhere" / "a.tar"))
    failed = Backup.objects.get()
    assert failed.finished_at is None and "does not exist" in failed.problem
    assert failed.started_at > timezone.now() - timedelta(minutes=1)


def test_access_tokens_are_in_a_backup_as_hashes_alone(tmp_path: Path) -> None:
    alice = make_user("alice")
    row, token = access_tokens.create(alice, "cron", ["label"], by=alice)
    account = service_accounts.create(make_team(), "nightly", Role.LABELER, by=alice)
    create_backup(tmp_path / "backup.tar")
    rows = {
        name: gzip.decompress(content).decode()
        for name, content in contents(tmp_path / "backup.tar").items()
        if name.startswith("rows/")
    }
    assert row.token_hash in rows["rows/projects.accesstoken/000001.jsonl.gz"]
    assert account.name in rows["rows/projects.serviceaccount/000001.jsonl.gz"]
    assert not any(token.plain in text for text in rows.values())

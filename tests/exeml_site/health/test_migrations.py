"""A program refuses the data of a newer one, and brings older data up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from exeml_site import __version__
from exeml_site.health.migrations import has_pending_migrations, newer_data
from exeml_site.health.program import program_name
from exeml_site.supervisor import first_start
from exeml_site.supervisor.preflight import CannotStart
from tests.exeml_site.supervisor.test_up import refused_up
from tests.supervisor_process import free_port

pytestmark = pytest.mark.django_db
NEWEST = "9999_of_a_later_version"


def test_a_migration_that_this_program_does_not_know_is_refused_by_start_and_by_migrate() -> None:
    assert newer_data() == ""
    MigrationRecorder(connection).record_applied("projects", NEWEST)
    sentence = newer_data()
    assert f"does not know its migration projects.{NEWEST}" in sentence and f"({__version__})" in sentence
    (error,) = [message for message in run_checks(databases=["default"]) if message.id == "exeml.E004"]
    assert error.msg == sentence
    with pytest.raises(CannotStart, match=NEWEST):
        first_start._missing()


@pytest.mark.slow
def test_up_leaves_the_data_of_a_newer_version_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "exeml.sqlite3") as database:
        database.execute("CREATE TABLE django_migrations (id INTEGER, app TEXT, name TEXT, applied TEXT)")
        row = (1, "projects", NEWEST, "2026-01-01 00:00:00")
        database.execute("INSERT INTO django_migrations VALUES (?, ?, ?, ?)", row)
    database.close()
    said = refused_up(EXEML_DATA=str(tmp_path), PORT=str(free_port()))
    assert f"The data was written by a newer version than this one ({__version__})" in said and NEWEST in said
    with sqlite3.connect(tmp_path / "exeml.sqlite3") as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert tables == [("django_migrations",)]


def test_migrations_of_an_app_that_was_taken_away_do_not_count() -> None:
    MigrationRecorder(connection).record_applied("an_extension", "0001_initial")
    assert newer_data() == ""


def test_data_of_an_older_version_is_behind() -> None:
    assert not has_pending_migrations() and first_start._missing() == ""
    MigrationRecorder(connection).record_unapplied("projects", "0017_machine")
    assert has_pending_migrations() and newer_data() == ""
    assert first_start._missing() == "until a machine with a web server has updated the database"


def test_a_program_is_named_by_its_version_and_a_digest_of_its_code() -> None:
    name, digest = program_name().rstrip(")").split(" (")
    assert name == __version__
    assert len(digest) == 8 and int(digest, 16) >= 0

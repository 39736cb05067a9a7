"""The command line: what it prints, and with which code it ends. Against the real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from exeml.cli.main import app
from exeml.core import settings
from projects.models import Transfer
from projects.transfers import import_job
from tests.clients.scripted_server import Scripted, scripted
from tests.factories import make_project, make_version, picture_bytes
from tests.training.views.test_evaluation import completed
from training.models import Status

live = pytest.mark.django_db(transaction=True)
Server = Callable[..., tuple[str, str]]


def exeml(*arguments: object, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)


def as_json(*arguments: object) -> Any:
    result = exeml(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def signed_in(server: Server) -> None:
    settings.store(*server())


@live
def test_login_asks_the_server_before_it_stores_the_token(server: Server) -> None:
    url, token = server("read")
    assert exeml("login", url, given="exeml_wrong\n").exit_code == 3
    assert not settings.config_file().exists()
    assert exeml("login", url, given=f"{token}\n").exit_code == 0
    assert as_json("account")["scopes"] == ["read"]
    assert exeml("logout").exit_code == 0
    assert exeml("account").exit_code == 3


@live
def test_images_are_uploaded_listed_and_labeled(signed_in: None, tmp_path: Path) -> None:
    for label in ("roses", "tulips"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(picture_bytes(len(label)))
    created = as_json("projects", "create", "flowers")
    assert [row["id"] for row in as_json("projects")] == [created["id"]]
    assert as_json("upload", "flowers", tmp_path, "--folders")["stored_count"] == 2
    again = exeml("upload", "flowers", tmp_path, "--folders")
    assert again.stdout.strip() == "0 stored, 2 there before, 0 refused."
    (image,) = as_json("images", "flowers", "--label", "roses")
    assert as_json("label", "flowers", image["id"], "--add", "red")["changed_count"] == 1
    from_input = exeml("label", "flowers", "-", "--add", "pink", given=str(image["id"]))
    assert from_input.exit_code == 0
    counts = {row["name"]: row["image_count"] for row in as_json("label", "flowers")}
    assert counts["pink"] == counts["tulips"] == 1


@live
def test_a_file_that_is_refused_is_named_and_ends_with_1(signed_in: None, tmp_path: Path) -> None:
    make_project("flowers")
    (tmp_path / "broken.png").write_bytes(b"no image")
    result = exeml("upload", "flowers", tmp_path)
    assert result.exit_code == 1 and "broken.png: " in result.stderr
    assert "1 refused" in result.stdout


@live
def test_a_project_is_exported(signed_in: None, tmp_path: Path) -> None:
    make_project("flowers", with_files=True)
    target = tmp_path / "flowers.zip"
    assert as_json("export", "flowers", target)["bytes"] == target.stat().st_size > 100
    assert list(tmp_path.glob(".*")) == [], "no part of it is left"


@live
def test_versions_and_their_figures_are_shown(signed_in: None) -> None:
    version = completed()
    make_version(version.project, 2, Status.FAILED)
    assert [row["name"] for row in as_json("versions", "flowers")] == ["V002", "V001"]
    accuracy = as_json("metrics", "flowers", "1")["accuracy"]
    shown = exeml("metrics", "flowers", "v001").stdout
    assert f"{accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})" in shown
    assert exeml("metrics", "flowers", "V002").exit_code == 4


@live
def test_the_code_says_what_is_wrong(signed_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project("flowers")
    refused = exeml("projects", "create", "flowers", "--json")
    assert refused.exit_code == 1 and json.loads(refused.stderr)["errors"][0]["field"] == "name"
    assert exeml("versions", "trees").exit_code == 4
    assert exeml("predict", "flowers", __file__).exit_code == 4, "no service is Running"
    assert exeml("label", "flowers", "x", "--add", "red").exit_code == 2
    monkeypatch.setenv("EXEML_TOKEN", "exeml_wrong")
    assert exeml("versions", "flowers").exit_code == 3


def test_without_a_server_it_ends_with_3_or_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exeml.core.calls.FIRST_PAUSE_S", 0.001)
    assert exeml("projects").exit_code == 3
    with scripted(Scripted()) as server:
        settings.store(server.url, "exeml_a")
    result = exeml("projects")
    assert result.exit_code == 5 and "does not answer" in result.stderr


def test_a_training_that_failed_ends_with_6(monkeypatch: pytest.MonkeyPatch) -> None:
    project = {"id": 1, "name": "flowers"}
    started = {"number": 1, "name": "V001", "status": "Initializing"}
    failed = started | {"status": "Failed", "failure_cause": "The disk is full."}
    answers = (
        Scripted(body={"items": [project], "next": None}),
        Scripted(body=started),
        Scripted(body=failed),
    )
    with scripted(*answers) as server:
        settings.store(server.url, "exeml_a")
        result = exeml("train", "flowers", "--wait", "--max-training-hours", "0.5")
    assert result.exit_code == 6 and "The disk is full." in result.stderr
    assert json.loads(server.received[1].body) == {"max_training_hours": 0.5}


def test_backup_names_the_command_of_operators() -> None:
    assert "manage.py backup" in exeml("backup").stdout


@live
def test_a_backup_of_a_project_becomes_a_project_again(
    signed_in: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project("flowers", with_files=True)
    monkeypatch.chdir(tmp_path)
    assert as_json("backup", "flowers")["path"] == "flowers.exeml.tar"
    as_json("projects", "create", "copy")
    transfer = as_json("import", "copy", "flowers.exeml.tar", "--no-wait")
    import_job.run(transfer["id"])
    assert Transfer.objects.get(pk=transfer["id"]).status == "Completed"
    copied = as_json("label", "copy")
    assert [(row["name"], row["image_count"]) for row in copied] == [
        (row["name"], row["image_count"]) for row in as_json("label", "flowers")
    ]
    assert sum(row["image_count"] for row in copied) == project.images.filter(is_labeled=True).count() > 0


def test_every_command_has_a_help_and_the_exit_codes_are_listed() -> None:
    top = exeml("--help")
    assert "Exit codes" in top.stdout and "--install-completion" in top.stdout
    for command in app.registered_commands:
        result = exeml(command.name, "--help")
        assert result.exit_code == 0 and "Usage" in result.stdout

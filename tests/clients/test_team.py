"""Members, service accounts, webhooks, answer settings and collected calls of the Python client."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.storage import default_storage

import exeml
from exeml_site.lib import storage
from projects.models import DataSource
from tests.clients.conftest import Client
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import colour_picture, give_bundle
from training.models import CollectedCall, Service, Status

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_members_come_get_another_role_and_go(client: Client) -> None:
    team = client.account().teams[0]
    make_user("zoe")
    added = client.add_member(team, "zoe")
    assert (added.username, added.role) == ("zoe", "labeler")
    assert client.change_member(team, added, "viewer").role == "viewer"
    assert "zoe" in [member.username for member in client.members(team.id)]
    client.remove_member(team, added)
    assert "zoe" not in [member.username for member in client.members(team)]


def test_a_service_account_gets_a_token_that_works_until_it_is_revoked(client: Client) -> None:
    team = client.account().teams[0]
    robot = client.create_service_account(team, "nightly", "viewer")
    token = robot.create_token("cron", ["label"], days=30)
    with exeml.connect(client.url, token.token) as program:
        assert program.account().is_service_account
        assert [(each.id, each.token) for each in robot.tokens()] == [(token.id, None)]
        robot.revoke_token(token)
        with pytest.raises(exeml.Problem) as raised:
            program.account()
    assert raised.value.status == 401 and robot.refresh().name == "nightly"
    assert [account.user_id for account in client.service_accounts(team)] == [robot.user_id]
    robot.delete()
    assert list(client.service_accounts(team)) == []


def test_webhooks_of_a_team_and_of_a_project(client: Client, settings: Any) -> None:
    project = client.project(make_project(images=1).pk)
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    events = ["training.completed"]
    ours = project.create_webhook("https://127.0.0.1/exeml", events)
    of_team = client.create_webhook(project.team_id, "https://127.0.0.1/team")
    assert ours.secret.startswith("whsec_") and ours.events == events and len(of_team.events) > 5
    assert ours.rotate_secret() not in ("", ours.secret)
    assert not ours.change(is_on=False).is_on and not ours.refresh().is_on
    sent = ours.change(is_on=True).test()
    assert [delivery.id for delivery in ours.deliveries()] == [sent.id]
    assert [webhook.id for webhook in project.webhooks()] == [ours.id]
    assert [webhook.id for webhook in client.webhooks(project.team_id)] == [of_team.id, ours.id]
    ours.delete()
    of_team.delete()
    assert list(client.webhooks(project.team_id)) == []


def test_a_data_source_is_chosen_and_imported(client: Client, settings: Any, tmp_path: Path) -> None:
    project = client.project(make_project(images=1).pk)
    settings.EXEML_SOURCE_ROOTS = [str(tmp_path)]
    transfer = project.choose_data_source(str(tmp_path), has_folder_labels=True)
    assert transfer.refresh().id == transfer.id
    assert project.data_source().model_dump()["address"] == DataSource.objects.get().address == str(tmp_path)


def test_a_service_answers_by_limits_of_its_own_and_its_calls_are_reviewed(client: Client) -> None:
    row = make_version(make_project(labels=2, images=1), 1, Status.COMPLETED)
    give_bundle(row)
    service_row = Service.objects.create(project=row.project, training_version=row, name="exeML-1")
    service = client.project("flowers").service(str(service_row.pk))
    assert service.set_answer_settings(1, min_confidence=0.4).min_confidence == 0.4
    assert [settings.min_confidence for settings in service.answer_settings()] == [0.4]
    assert service.reset_answer_settings(1).is_own
    storage.save_whole("services/a", colour_picture("red"))
    for _ in range(2):
        CollectedCall.objects.create(
            id=uuid4(), service=service_row, training_version=row, file_name="services/a", confidence=1
        )
    first, second = service.collected_calls()
    assert first.content() == colour_picture("red") and first.thumbnail()[8:12] == b"WEBP"
    service.feedback(first, is_right=False, correct_labels=["label-1"])
    assert (first.refresh().verdict, first.correct_labels) == ("wrong", ["label-1"])
    assert service.add_collected([first]).model_dump()["added_count"] == 1
    assert first.refresh().image_id is not None
    assert service.dismiss_collected([second.id]).model_dump() == {"dismissed_count": 1}
    assert list(service.collected_calls()) == []
    shutil.rmtree(default_storage.path(row.folder))

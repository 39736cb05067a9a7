"""Another version behind the same address: proved first, at once or for a share, and back."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from projects.models import Project
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from tests.training.bundles import colour_picture, give_bundle
from training.models import Service, Status, TrainingVersion
from training.serving import deploy, rollout
from training.serving.deploy import DeployRefused
from training.serving.inference import model_cache, predictor
from training.versions import lifecycle


@pytest.fixture
def newer(project: Project) -> Iterator[TrainingVersion]:
    """V002 with a model of its own."""
    version = make_version(project, 2, Status.COMPLETED, accuracy=0.96)
    give_bundle(version)
    yield version
    shutil.rmtree(default_storage.path(version.folder), ignore_errors=True)


def called(opened: tuple[Service, str]) -> str:
    """The version that answers."""
    service, token = opened
    body = {"images": SimpleUploadedFile("photo.png", colour_picture("red"))}
    response = Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token})
    assert response.status_code == 200
    return str(response.json()["version"])


def change(client: Client, service: Service, **fields: object) -> HttpResponse:
    data = {"change-share": "all"} | {f"change-{name}": value for name, value in fields.items()}
    return client.post(reverse("change_version", args=[service.project_id, service.pk]), data)


def settle(service: Service) -> None:
    """What the worker does."""
    rollout.change_over(str(service.pk))
    service.refresh_from_db()


def messages(service: Service) -> list[str]:
    return list(service.events.order_by("pk").values_list("message", flat=True))


def test_the_old_version_answers_until_the_new_one_is_proved(
    opened, newer: TrainingVersion, alice: Client
) -> None:
    service = opened[0]
    assert change(alice, service, version=newer.pk).status_code == 303
    service.refresh_from_db()
    assert service.next_version == newer and called(opened) == "V001"
    settle(service)
    assert called(opened) == "V002"
    assert (service.training_version, service.next_version) == (newer, None)
    assert messages(service)[-2:] == ["V002 is loaded to take over.", "V002 answers in place of V001."]
    assert service.events.order_by("pk")[len(messages(service)) - 2].by == make_user("alice")


def test_rolling_back_is_one_press_and_can_be_taken_back(
    opened, newer: TrainingVersion, alice: Client
) -> None:
    service = opened[0]
    rollout.change_version(service, newer, make_user("alice"))
    settle(service)
    alice.post(reverse("roll_back", args=[service.project_id, service.pk]))
    settle(service)
    assert called(opened) == "V001" and service.previous_version == newer
    rollout.roll_back(service, make_user("alice"))
    settle(service)
    assert called(opened) == "V002"


def test_a_version_that_cannot_be_loaded_changes_nothing(opened, newer: TrainingVersion) -> None:
    service = opened[0]
    shutil.rmtree(Path(default_storage.path(newer.folder)))
    rollout.change_version(service, newer, make_user("alice"))
    settle(service)
    assert service.next_version is None and called(opened) == "V001"
    assert "V002 could not take over: The model cannot be loaded." in messages(service)[-1]
    assert messages(service)[-1].endswith("V001 still answers.")


def test_a_canary_gets_its_share_of_the_calls_and_ends(opened, newer: TrainingVersion, alice: Client) -> None:
    service = opened[0]
    change(alice, service, version=newer.pk, share="part", percent=30)
    settle(service)
    assert (service.canary_version, service.canary_percent) == (newer, 30)
    picked = Counter(predictor.version_for_call(service).name for _ in range(4000))
    assert 0.25 < picked["V002"] / 4000 < 0.35
    alice.post(reverse("end_trial", args=[service.project_id, service.pk]), {"keep": "0"})
    service.refresh_from_db()
    assert (service.canary_version, service.canary_percent) == (None, 0) and called(opened) == "V001"


def test_a_canary_whose_model_is_gone_costs_nobody_an_answer(opened, newer: TrainingVersion) -> None:
    service = opened[0]
    rollout.change_version(service, newer, make_user("alice"), percent=99)
    settle(service)
    model_cache._cache.pop((newer.job_id, "float32"))  # as in a process that was started since
    shutil.rmtree(Path(default_storage.path(newer.folder)))
    assert {called(opened) for _ in range(5)} == {"V001"}


def test_the_version_of_a_canary_can_take_over(opened, newer: TrainingVersion, alice: Client) -> None:
    service = opened[0]
    rollout.change_version(service, newer, make_user("alice"), percent=10)
    settle(service)
    alice.post(reverse("end_trial", args=[service.project_id, service.pk]), {"keep": "1"})
    settle(service)
    assert (service.training_version, service.canary_version, service.canary_percent) == (newer, None, 0)


def test_another_choice_before_the_proof_wins(opened, newer: TrainingVersion) -> None:
    service, third = opened[0], make_version(opened[0].project, 3, Status.COMPLETED)
    give_bundle(third)
    by = make_user("alice")
    rollout.change_version(service, newer, by)
    stale = Service.objects.select_related("next_version", "training_version").get(pk=service.pk)
    rollout.change_version(service, third, by)
    rollout._take_over(stale, newer)
    service.refresh_from_db()
    assert service.training_version.name == "V001" and service.next_version == third
    settle(service)
    assert called(opened) == "V003"
    shutil.rmtree(default_storage.path(third.folder))


def test_a_stopped_service_answers_with_the_new_version_once_started(opened, newer: TrainingVersion) -> None:
    service = opened[0]
    deploy.stop(service, make_user("alice"))
    with pytest.raises(DeployRefused, match="only while the service is Running"):
        rollout.change_version(service, newer, make_user("alice"), percent=10)
    rollout.change_version(service, newer, make_user("alice"))
    deploy.start(service, make_user("alice"))
    deploy.bring_up(str(service.pk))
    assert called(opened) == "V002"


def test_what_the_queue_lost_is_put_into_it_again(
    opened, newer: TrainingVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout.change_version(opened[0], newer, make_user("alice"))
    monkeypatch.setattr(deploy, "REQUEUE_AFTER", -deploy.REQUEUE_AFTER)
    again: list[object] = []
    monkeypatch.setattr(rollout, "enqueue_version_change", again.append)
    rollout.catch_up()
    assert again == [opened[0].pk]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"version": "999"}, "This version is not Completed"),
        ({"share": "x"}, "Choose all calls, a share or none."),
        ({"share": "part", "percent": "0"}, "whole number from 1 to 99"),
        ({"share": "part", "percent": "100"}, "whole number from 1 to 99"),
        ({"share": "part", "percent": ""}, "whole number from 1 to 99"),
    ],
)
def test_what_cannot_be_changed_is_said_at_the_field(
    opened, newer: TrainingVersion, alice: Client, fields: dict[str, str], sentence: str
) -> None:
    page = change(alice, opened[0], **({"version": newer.pk} | fields))
    assert page.status_code == 422 and sentence in html_of(page)
    opened[0].refresh_from_db()
    assert opened[0].next_version is None


def test_the_present_version_and_one_of_another_project_are_refused(opened) -> None:
    service = opened[0]
    with pytest.raises(DeployRefused, match="V001 already answers"):
        rollout.change_version(service, service.training_version, make_user("alice"))
    other = make_version(make_project("other"), 1, Status.COMPLETED)
    with pytest.raises(DeployRefused, match="another project"):
        rollout.change_version(service, other, make_user("alice"))
    with pytest.raises(DeployRefused, match="There is no earlier version"):
        rollout.roll_back(service, make_user("alice"))


def test_a_version_that_answers_or_will_answer_is_not_deleted(opened, newer: TrainingVersion) -> None:
    service = opened[0]
    rollout.change_version(service, newer, make_user("alice"), percent=10)
    with pytest.raises(lifecycle.TrainingRefused, match="is deployed as the service"):
        lifecycle.delete(newer, make_user("alice"))
    settle(service)
    with pytest.raises(lifecycle.TrainingRefused, match="is deployed as the service"):
        lifecycle.delete(newer, make_user("alice"))


def test_the_page_shows_canary_and_rollback_to_managers_only(
    opened, newer: TrainingVersion, alice: Client, vera: Client
) -> None:
    service = opened[0]
    rollout.change_version(service, newer, make_user("alice"))
    settle(service)
    rollout.change_version(service, opened[0].previous_version, make_user("alice"), percent=20)
    settle(service)
    address = reverse("service_page", args=[service.project_id, service.pk])
    page, seen = html_of(alice.get(address)), html_of(vera.get(address))
    assert "Roll back to V001" in page and "Send all calls to V001" in page and "80 %" in page
    assert "Roll back" not in seen and "20 % of the calls" in seen

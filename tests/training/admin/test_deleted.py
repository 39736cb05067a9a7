"""An operator restores deleted services, and purges deleted services and versions."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from exeml_site.lib import storage
from tests.factories import PASSWORD, make_project, make_user, make_version
from training.models import Batch, CollectedCall, Metric, Service, ServiceToken, Status, TrainingVersion
from training.serving import deploy
from training.versions import lifecycle


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password=PASSWORD))
    return client


@pytest.fixture
def service(db: None) -> Service:
    """A running service with a token."""
    version = make_version(make_project("flowers", labels=0), 1, Status.COMPLETED, accuracy=0.9)
    service = Service.objects.create(
        project=version.project, training_version=version, name="exeML-flowers-V001", status="Running"
    )
    ServiceToken.objects.create(service=service, name="shop", token_hash="a" * 64, hint="abcd")
    return service


def run(client: Client, row: Any, action: str, **fields: str) -> str:
    address = reverse(f"admin:training_{row._meta.model_name}_changelist")
    fields = {"action": action, "_selected_action": str(row.pk), **fields}
    return client.post(address, fields, follow=True).content.decode()


def test_a_deleted_service_comes_back_stopped_with_its_tokens(operator: Client, service: Service) -> None:
    deploy.delete(service, by=make_user("alice"))
    assert "Restored: exeML-flowers-V001." in run(operator, service, "restore")
    service.refresh_from_db()
    assert (service.deleted_at, service.status) == (None, "Stopped")
    assert service.tokens.get().revoked_at is None
    event = service.events.first()
    assert event is not None and (event.message, event.by.username) == ("Restored.", "operator")
    assert deploy.start(service, by=make_user("alice"))
    assert "was not deleted" in run(operator, service, "restore")


def test_a_service_is_not_restored_without_its_version_its_project_or_room(
    operator: Client, service: Service, settings: Any
) -> None:
    deploy.delete(service, by=make_user("alice"))
    settings.EXEML_MAX_SERVICES_PER_TEAM = 1
    other = Service.objects.create(
        project=service.project, training_version=service.training_version, name="other"
    )
    assert "may have at most 1 service" in run(operator, service, "restore")
    other.delete()
    service.project.__class__.objects.update(deleted_at=service.deployed_at)
    assert "Restore the project first." in run(operator, service, "restore")
    service.project.__class__.objects.update(deleted_at=None)
    lifecycle.delete(service.training_version, make_user("alice"))
    assert "V001 was deleted." in run(operator, service, "restore")
    service.refresh_from_db()
    assert service.deleted_at is not None


def test_a_purged_service_leaves_no_row_and_no_file(operator: Client, service: Service) -> None:
    default_storage.save("services/picture", ContentFile(b"x"))
    CollectedCall.objects.create(
        id=uuid4(),
        service=service,
        training_version=service.training_version,
        file_name="services/picture",
        sha256="0",
        confidence=0.5,
    )
    batch = Batch.objects.create(service=service, training_version=service.training_version, name="a.zip")
    storage.save_whole(f"{batch.folder}/results.jsonl", b"{}")
    assert "None of these was deleted." in run(operator, service, "purge")
    assert "Not deleted, so kept" in run(operator, service, "purge", confirmed="yes")
    deploy.delete(service, by=make_user("alice"))
    assert "Nothing brings them back." in run(operator, service, "purge")
    assert Service.objects.filter(pk=service.pk).exists() and default_storage.exists("services/picture")

    assert "Purged: flowers exeML-flowers-V001." in run(operator, service, "purge", confirmed="yes")

    assert not Service.objects.exists() and not Batch.objects.exists() and not ServiceToken.objects.exists()
    assert not default_storage.exists("services/picture")
    assert not default_storage.exists(f"{batch.folder}/results.jsonl")
    entry = LogEntry.objects.latest("pk")
    assert (entry.object_id, entry.object_repr) == (str(service.pk), "exeML-flowers-V001")


def test_a_deleted_version_comes_back(operator: Client, service: Service) -> None:
    version = service.training_version
    storage.save_whole(f"{version.folder}/bundle/model.onnx", b"weights")
    deploy.delete(service, by=make_user("alice"))
    lifecycle.delete(version, make_user("alice"))
    assert "Restored: V001." in run(operator, version, "restore")
    assert "Restored: exeML-flowers-V001." in run(operator, service, "restore")
    assert "V001 was not deleted." in run(operator, version, "restore")
    storage.delete_folder(version.folder)
    TrainingVersion.objects.filter(pk=version.pk).update(deleted_at=timezone.now())
    assert "Not restored: V001. Its files have been deleted for good." in run(operator, version, "restore")


def test_a_version_is_purged_after_the_services_that_name_it(operator: Client, service: Service) -> None:
    version = service.training_version
    assert "None of these was deleted." in run(operator, version, "purge")
    deploy.delete(service, by=make_user("alice"))
    lifecycle.delete(version, make_user("alice"))
    said = run(operator, version, "purge", confirmed="yes")
    assert "Not purged: flowers V001. Services and batches still name it: exeML-flowers-V001." in said
    run(operator, service, "purge", confirmed="yes")
    assert "Purged: flowers V001." in run(operator, version, "purge", confirmed="yes")
    assert not TrainingVersion.objects.exists() and not Metric.objects.exists()
    assert version.project.dataset_versions.get().name == "V001"


@pytest.mark.django_db
def test_whoever_may_only_look_purges_nothing(client: Client, service: Service) -> None:
    deploy.delete(service, by=make_user("alice"))
    looker = make_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_service"))
    client.force_login(looker)
    run(client, service, "purge", confirmed="yes")
    assert Service.objects.filter(pk=service.pk).exists()

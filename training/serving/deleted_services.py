"""Deleted services: an operator restores one, or removes it for good with all that it has kept."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext_noop

from exeml_site.lib import storage
from projects import audit
from training.models import Service
from training.serving import deploy
from training.versions.webhook_events import raise_service_status

PROJECT_FIRST = "Its project was deleted. Restore the project first."  # not translated: for operators
MAX_FILES = 500  # whose rows are deleted in one transaction


def restore(service: Service, by: User) -> bool:
    """Bring a deleted service back as Stopped, with its address and tokens. False if it is not deleted.

    Pictures that it had collected are gone after a day. Raises DeployRefused if its project or version was
    deleted, or its team has no room for another service.
    """
    with transaction.atomic():
        if service.project.deleted_at:
            raise deploy.DeployRefused(PROJECT_FIRST)
        deploy.check_deployable(service.training_version)
        deleted = Service.objects.filter(pk=service.pk, deleted_at__isnull=False)
        if not deleted.exists():
            return False
        deploy.check_service_limit(service.project.team_id)
        is_restored = bool(deleted.update(deleted_at=None))
        deploy.record_event(service, by, gettext_noop("Restored."))
        audit.record(audit.Kind.SERVICE_RESTORED, project=service.project, target=service.name, by=by)
        raise_service_status(service, "Restored.")  # not translated: of programs
    service.refresh_from_db()
    return is_restored


def purge(service: Service) -> bool:
    """Delete a deleted service with its events, tokens, calls and batches. False if it is not deleted.

    Files go first: if the storage is away, the rows stay and the purge can be repeated.
    """
    if not Service.objects.filter(pk=service.pk, deleted_at__isnull=False).exists():
        return False
    while calls := dict(service.collected.order_by().values_list("pk", "file_name")[:MAX_FILES]):
        for name in calls.values():
            storage.delete_file(name)
        service.collected.filter(pk__in=calls).delete()
    for batch in service.batches.all():
        storage.delete_folder(batch.folder)
    with transaction.atomic():
        number, _ = Service.objects.filter(pk=service.pk, deleted_at__isnull=False).delete()
        if number:
            audit.record(audit.Kind.SERVICE_PURGED, project=service.project, target=service.name)
    return bool(number)

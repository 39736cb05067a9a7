"""What `projects` asks about trainings and services; registered by `apps.ready`."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import OuterRef, Subquery
from django.utils.translation import gettext

from exeml_site.lib import storage
from projects.models import Project
from projects.workspace.purge import delete_rows
from training.models import Metric, Service, Status


def delete_blockers(project: Project) -> Iterator[str]:
    """Sentences that say what prevents deleting the project, as in “V002 is Running”."""
    for version in project.training_versions.active():
        names = {"version": version.name, "status": version.get_status_display()}
        yield gettext("%(version)s is %(status)s") % names
    running = [Service.Status.DEPLOYING, Service.Status.RUNNING]
    for service in project.services.alive().filter(status__in=running):
        names = {"service": service.name, "status": service.get_status_display()}
        yield gettext("Service %(service)s is %(status)s") % names


def purge(project: Project) -> None:
    """Delete services, trainings and all that came of them, with their files."""
    for service in project.services.all():
        for batch_id in service.batches.values_list("pk", flat=True):
            storage.delete_folder(f"batches/{batch_id}")
        storage.delete_folder(f"services/{service.pk}")
        for of_service in (service.collected.all(), service.shadow_answers.all(), service.minutes.all()):
            delete_rows(of_service, project)
        service.delete()
    for version in project.training_versions.order_by("-number"):
        storage.delete_folder(version.folder)
        for evaluation in version.evaluations.all():
            if evaluation.images_file:
                storage.delete_file(evaluation.images_file)
            delete_rows(evaluation.images.all(), project)
        for of_version in (version.evaluated_images.all(), version.later_predictions.all()):
            delete_rows(of_version, project)
        version.delete()


def latest_accuracy() -> Subquery:
    """The overall accuracy of the newest Completed version that still exists.

    The highest one would compare versions that were evaluated on different images.
    """
    overall = Metric.objects.filter(
        training_version__project=OuterRef("pk"),
        training_version__deleted_at=None,
        training_version__status=Status.COMPLETED,
        label="",
        name=Metric.Name.ACCURACY,
    )
    return Subquery(overall.order_by("-training_version__number").values("value")[:1])

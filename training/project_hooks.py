"""What `projects` asks about trainings and services; registered by `apps.ready`."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import OuterRef, Subquery
from django.utils.translation import gettext

from projects.models import Project
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

"""What `projects` asks about trainings and services; registered by `apps.ready`."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Max, OuterRef, Q, Subquery

from projects.models import Project
from training.models import Service, Status


def delete_blockers(project: Project) -> Iterator[str]:
    """Sentences that say what prevents deleting the project, as in “V002 is Running”."""
    for version in project.training_versions.active():
        yield f"{version.name} is {version.status}"
    running = [Service.Status.DEPLOYING, Service.Status.RUNNING]
    for service in project.services.alive().filter(status__in=running):
        yield f"Service {service.name} is {service.status}"


def best_accuracy() -> Subquery:
    """The highest overall accuracy of a Completed version that still exists."""
    versions = {"training_versions__deleted_at": None, "training_versions__status": Status.COMPLETED}
    overall = Q(**versions, training_versions__metrics__label="", training_versions__metrics__name="accuracy")
    best = Project.objects.filter(pk=OuterRef("pk")).order_by().values("pk")
    return Subquery(
        best.annotate(best=Max("training_versions__metrics__value", filter=overall)).values("best")
    )

"""Measures the stored images of each person in each project."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import Count, Sum
from django.utils import timezone

from projects.models import Image, Project, UsageKind
from projects.usage.ledger import Measure, month_of, write


def measure() -> None:
    """Images and bytes, those in the bin and in deleted projects included: they are there until a purge.

    Runs once an hour. Safe to run twice.
    """
    month = month_of(timezone.now())
    rows = Image.objects.order_by().values_list("project_id", "uploaded_by")
    counted = list(rows.annotate(images=Count("pk"), size=Sum("size_bytes")))
    projects = Project.objects.select_related("team").in_bulk({row[0] for row in counted})
    people = User.objects.in_bulk({row[1] for row in counted if row[1] is not None})
    measures = []
    for project_id, user_id, images, size in counted:
        source, project, by = f"images {project_id} {user_id or 0}", projects[project_id], people.get(user_id)
        measures.append(Measure(month, UsageKind.IMAGES, source, project, images, by))
        measures.append(Measure(month, UsageKind.STORAGE, source, project, size or 0, by))
    write(measures)

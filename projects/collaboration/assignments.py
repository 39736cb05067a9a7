"""Assignments: which person is asked to label which images.

Other people may label these images, too. Labeling an image ends its assignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, F
from django.utils.translation import gettext

from exeml_site.lib.bulk import chunks
from projects.labels.annotations import lock_project
from projects.models import Assignment, Image, NoticeKind, Project
from projects.models.image import ImageQuerySet
from projects.notices import notices

NEXT_COUNT = 50


def unassigned_images(project: Project) -> ImageQuerySet:
    """Unlabeled images without an assignment, the most useful first, then in upload order."""
    images = Image.objects.unlabeled().filter(project=project, assignment=None)
    return images.order_by(F("acquisition_score").desc(nulls_last=True), "pk")


def count_assigned(project: Project, user: User) -> int:
    """How many images are assigned to `user` and not labeled yet."""
    waiting = Assignment.objects.filter(user=user, image__project=project, image__deleted_at=None)
    return waiting.count()


@transaction.atomic
def assign_next(project: Project, user: User, by: User | None, count: int = NEXT_COUNT) -> int:
    """Assign the next `count` unassigned images to `user`. Returns how many were assigned."""
    lock_project(project)
    images = list(unassigned_images(project).values_list("pk", flat=True)[:count])
    return _assign(project, images, [user], by)


@transaction.atomic
def distribute(project: Project, users: Sequence[User], by: User | None, percent: int = 100) -> int:
    """Assign `percent` of the unassigned images evenly among `users`. Returns how many were assigned."""
    lock_project(project)
    images = list(unassigned_images(project).values_list("pk", flat=True))
    return _assign(project, images[: -(-len(images) * percent // 100)], users, by) if users else 0


def _assign(project: Project, images: Sequence[int], users: Sequence[User], by: User | None) -> int:
    """Assign round robin, so that every user gets some of the most useful images, and tell them."""
    rows = [Assignment(image_id=pk, user=users[index % len(users)], by=by) for index, pk in enumerate(images)]
    for chunk in chunks(rows):
        Assignment.objects.bulk_create(chunk)
    source = f"assigned {project.pk} {uuid4()}"
    for index, user in enumerate(users):
        number = len(images[index :: len(users)])
        if number and user != by:
            name = by.get_username() if by else gettext("somebody")
            notices.add(NoticeKind.ASSIGNED, [user], project, source, images=number, by=name)
    return len(rows)


@transaction.atomic
def unassign(project: Project, user: User) -> int:
    """Remove all assignments of `user`. Returns how many there were."""
    lock_project(project)
    return Assignment.objects.filter(image__project=project, user=user).delete()[0]


def assigned_by_user(project: Project) -> dict[int, int]:
    """User id → number of assigned images."""
    waiting = Assignment.objects.filter(image__project=project, image__deleted_at=None).order_by()
    return dict(waiting.values_list("user").annotate(Count("pk")))

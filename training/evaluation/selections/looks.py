"""How many versions were judged on the same test images.

A look is a version whose result on the images somebody has seen. Whoever then chooses the best of several
versions chooses partly what fitted these images by chance, so the best result is optimistic. A result of test
images is therefore hidden until somebody opens it, and the number of looks stands beside it. One image in
common is enough: adding an image to the test images does not begin a new count. Deleted versions count.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef

from projects.models import Split
from training.models import SelectedImage, VersionEvaluation

Kind = VersionEvaluation.Kind


def show_result(evaluation: VersionEvaluation, by: User) -> bool:
    """Open the hidden result of an evaluation for everybody. False if it is open, or there is none."""
    completed = VersionEvaluation.objects.completed().filter(pk=evaluation.pk)
    return completed.show(by.pk)


def judged_versions(evaluation: VersionEvaluation) -> int:
    """How many versions were judged on any of the evaluation's test images, this one included if it is open.

    0 where none of its images is a test image.
    """
    images = evaluation.images.filter(image__isnull=False)
    if evaluation.kind != Kind.TEST:
        images = images.filter(image__split=Split.TEST)
    same = SelectedImage.objects.filter(evaluation=OuterRef("pk"), image__in=images.values("image"))
    evaluations = VersionEvaluation.objects.completed().shown().filter(Exists(same.order_by()))
    return evaluations.order_by().values("training_version").distinct().count()

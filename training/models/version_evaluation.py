"""Evaluations of versions on selected images: the test images, a filter of Label Data, another project."""

from __future__ import annotations

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy

from exeml_site.lib.job_row import JobRow, JobRowQuerySet
from projects.models import Project
from training.models.evaluation import StoredPrediction, StoredPredictionQuerySet
from training.models.version import TrainingVersion


class VersionEvaluationQuerySet(JobRowQuerySet["VersionEvaluation"]):
    def completed(self) -> Self:
        return self.filter(status=VersionEvaluation.Status.COMPLETED)

    def shown(self) -> Self:
        """Those whose result somebody has seen."""
        return self.exclude(shown_at=None)

    def show(self, by_id: int | None) -> bool:
        """Note that the result was seen, by whom first. False if it had been seen before."""
        return bool(self.filter(shown_at=None).update(shown_at=Now(), shown_by=by_id))


class VersionEvaluation(JobRow):
    """One version judged on one selection of labeled images, without training.

    The training itself evaluates the test images of its dataset version (TEST); people ask for others
    (SELECTION). `source`: the project of the images. Their ids lie in a file; `done` of `total` images are
    predicted; `result` is described in training.evaluation.selections.results. A result of TEST is hidden
    until somebody opens it (`shown_at`): that counts as a look at the test images.
    """

    class Status(models.TextChoices):
        WAITING = "Waiting", gettext_lazy("Waiting")
        RUNNING = "Running", gettext_lazy("Running")
        COMPLETED = "Completed", gettext_lazy("Completed")
        CANCELLED = "Cancelled", gettext_lazy("Cancelled")
        FAILED = "Failed", gettext_lazy("Failed")

    class Kind(models.TextChoices):
        TEST = "test", gettext_lazy("Test images of the dataset version")
        SELECTION = "selection", gettext_lazy("Selected images")

    JOB = "run_evaluation"
    UNSTARTED = (Status.WAITING,)
    ACTIVE = (Status.WAITING, Status.RUNNING)
    CANCELLED = Status.CANCELLED
    WANTED = {
        "is_cancel_wanted": False,
        "training_version__deleted_at": None,
        "training_version__project__deleted_at": None,
    }

    training_version = models.ForeignKey(
        TrainingVersion, on_delete=models.CASCADE, related_name="evaluations"
    )
    kind = models.CharField(max_length=9, choices=Kind.choices, default=Kind.SELECTION)
    source = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, related_name="+")
    name = models.CharField(max_length=255)  # what was selected, in words
    query = models.CharField(max_length=2048, blank=True)  # the filter of Label Data that selected the images
    images_file = models.CharField(max_length=255, blank=True, editable=False)  # ids as JSON, until the end
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    result = models.JSONField(default=dict, blank=True)
    is_cancel_wanted = models.BooleanField(default=False)
    problem = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    shown_at = models.DateTimeField(null=True, blank=True)
    shown_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    objects = VersionEvaluationQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["Waiting", "Running", "Completed", "Cancelled", "Failed"]),
                name="evaluation_status_is_known",
            ),
            models.UniqueConstraint(
                fields=["training_version"],
                condition=models.Q(kind="test"),
                name="one_test_result_of_a_version",
            ),
        ]
        indexes = [models.Index(fields=["status", "heartbeat_at"], name="sweep_of_evaluations")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_completed(self) -> bool:
        return self.status == self.Status.COMPLETED

    @property
    def is_hidden(self) -> bool:
        """Whether the result is there, but nobody has opened it."""
        return self.is_completed and self.shown_at is None

    @property
    def percent(self) -> int | None:
        return int(100 * self.done / self.total) if self.total else None


class SelectedImage(StoredPrediction):
    """The stored prediction of one image of a selection.

    `was_trained_on`: the version, or one that it continues, was trained on the image or on a duplicate of it.
    """

    evaluation = models.ForeignKey(VersionEvaluation, on_delete=models.CASCADE, related_name="images")
    was_trained_on = models.BooleanField(default=False)

    objects = StoredPredictionQuerySet["SelectedImage"].as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["evaluation", "image"], name="an_image_selected_once"),
        ]
        indexes = [
            models.Index(
                fields=["evaluation", "is_correct", "-confidence", "id"], name="selection_mistakes_first"
            ),
        ]

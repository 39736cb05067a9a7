"""Batch prediction: many images predicted by a worker."""

from __future__ import annotations

from math import ceil
from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy, ngettext

from exeml_site.lib.display import count
from exeml_site.lib.job_row import JobRow, JobRowQuerySet
from training.models.service import Service
from training.models.version import NumberFormat, TrainingVersion


class BatchQuerySet(JobRowQuerySet["Batch"]):
    def silent(self) -> Self:
        """Only batches whose upload has been stored: it follows the row, and a large one takes minutes."""
        return super().silent().exclude(files=[], address="", selection="")


class Batch(JobRow):
    """Images of an archive, a manifest, a server folder or the project, and their predictions.

    The row is the truth; the predictions are lines of a file, `done` of them.
    """

    class Status(models.TextChoices):
        WAITING = "Waiting", gettext_lazy("Waiting")
        RUNNING = "Running", gettext_lazy("Running")
        COMPLETED = "Completed", gettext_lazy("Completed")
        CANCELLED = "Cancelled", gettext_lazy("Cancelled")
        FAILED = "Failed", gettext_lazy("Failed")

    class Selection(models.TextChoices):
        """Images of the project, where no files were sent."""

        LABELED = "labeled", gettext_lazy("All labeled images")
        NOT_TRAINED = "not trained", gettext_lazy("Labeled images that the version was not trained on")
        UNLABELED = "unlabeled", gettext_lazy("Unlabeled images")

    JOB = "run_batch"
    UNSTARTED = (Status.WAITING,)
    ACTIVE = (Status.WAITING, Status.RUNNING)
    CANCELLED = Status.CANCELLED
    WANTED = {"is_cancel_wanted": False, "service__project__deleted_at": None}

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="batches")
    training_version = models.ForeignKey(TrainingVersion, on_delete=models.PROTECT, related_name="+")
    answer_settings = models.JSONField(default=dict, blank=True)  # of the service when the batch was created
    number_format = models.CharField(
        max_length=8,
        choices=NumberFormat.choices,
        blank=True,
        help_text="of the service when the batch was created",  # not translated: admin
    )
    name = models.CharField(max_length=255)  # of the file or the folder
    files = models.JSONField(default=list, blank=True)  # [{"name", "stored"}]
    address = models.CharField(max_length=1024, blank=True)  # of the folder
    selection = models.CharField(max_length=12, choices=Selection.choices, blank=True)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING, db_column="state")
    total = models.PositiveIntegerField(null=True, blank=True)
    done = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    is_cancel_wanted = models.BooleanField(default=False)
    judgement = models.JSONField(default=dict, blank=True)  # training.serving.batches.judgement
    problem = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_column="made_by_id",
    )
    created_at = models.DateTimeField(auto_now_add=True, db_column="made_at")

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["Waiting", "Running", "Completed", "Cancelled", "Failed"]),
                name="batch_state_is_known",
            )
        ]
        indexes = [models.Index(fields=["status", "heartbeat_at"], name="sweep_of_batches")]

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> str:
        """Folder of its files in the default storage."""
        return f"batches/{self.pk}"

    @property
    def accuracy(self) -> float | None:
        """Of the judged images that the version was not trained on; None without any."""
        judged = self.judgement.get("judged", 0)
        return self.judgement["hits"] / judged if judged else None

    def picture_name(self, number: int) -> str:
        """The stored thumbnail of the mistake in a line."""
        return f"{self.folder}/mistakes/{number}.webp"

    @property
    def time_left(self) -> str:
        """Estimated time left at the speed so far; empty if unknown."""
        if not self.is_active or not self.total or not self.done or self.started_at is None:
            return ""
        used_s = (timezone.now() - self.started_at).total_seconds()
        minutes = ceil(used_s * (self.total - self.done) / self.done / 60)
        sentence = ngettext("%(count)s minute", "%(count)s minutes", max(1, minutes))
        return sentence % {"count": count(max(1, minutes))}

    @property
    def percent(self) -> int | None:
        return int(100 * self.done / self.total) if self.total else None

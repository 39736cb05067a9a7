"""Training versions and the instance flavors that they run on."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy, gettext_noop

from exeml_site.lib.job_row import JobRow, JobRowQuerySet
from projects.models import DatasetVersion, Project

MIN_INFERENCE_MS, MAX_INFERENCE_MS = 1, 20_000
MIN_TRAINING_MINUTES, MAX_TRAINING_MINUTES = 6, 6_000
# A job may take longer than the limit that the engine keeps: publishing, evaluating, storing, a busy machine.
JOB_SLACK = timedelta(minutes=45)
# So long a trained model waits for a storage that is away, and a training for its images.
STORAGE_WAIT = timedelta(days=1)
# Stored, and translated where shown.
QUEUE_UNAVAILABLE = gettext_noop(
    "Waiting for the queue, which does not respond. Training starts when it is available again."
)


class Device(models.TextChoices):
    CPU = "cpu", "CPU"
    GPU = "gpu", "GPU"


class Hardware(models.TextChoices):
    """Hardware that predictions are expected to run on."""

    NV_P4 = "NV_P4", "NV_P4"
    CPU = "CPU", "CPU"


class NumberFormat(models.TextChoices):
    """NumberFormat of the numbers that a network computes with."""

    FLOAT32 = "float32", "float32"
    INT8 = "int8", "INT8"
    BFLOAT16 = "bfloat16", "bfloat16"


class InstanceFlavor(models.Model):
    """Resources that a training can use; maintained by operators."""

    name = models.CharField(max_length=64, unique=True)
    device = models.CharField(max_length=3, choices=Device.choices)
    queue = models.CharField(
        max_length=32,
        choices=[(settings.QUEUE_GPU, settings.QUEUE_GPU), (settings.QUEUE_CPU, settings.QUEUE_CPU)],
        help_text="The RQ queue whose workers run the trainings of this flavor.",  # not translated: admin
    )
    price_per_hour = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    is_default = models.BooleanField(default=False)
    is_enabled = models.BooleanField(default=True)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="one_default_flavor",
                violation_error_message="Another flavor is the default. "  # not translated: admin
                "Take the mark from it first.",
            ),
            models.CheckConstraint(
                condition=models.Q(is_enabled=True) | models.Q(is_default=False),
                name="the_default_flavor_is_enabled",
                violation_error_message="The default flavor must be enabled.",  # not translated: admin
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @transaction.atomic
    def make_default(self) -> None:
        """Make this flavor the default and enable it; the previous default loses its mark."""
        InstanceFlavor.objects.exclude(pk=self.pk).filter(is_default=True).update(is_default=False)
        InstanceFlavor.objects.filter(pk=self.pk).update(is_default=True, is_enabled=True)


class Status(models.TextChoices):
    """States of a training version, exactly as the screen shows them."""

    INITIALIZING = "Initializing", gettext_lazy("Initializing")
    RUNNING = "Running", gettext_lazy("Running")
    COMPLETED = "Completed", gettext_lazy("Completed")
    FAILED = "Failed", gettext_lazy("Failed")
    STOPPED = "Stopped", gettext_lazy("Stopped")


ACTIVE = frozenset({Status.INITIALIZING, Status.RUNNING})
FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPED})


class StopReason(models.TextChoices):
    CONVERGED = "converged", gettext_lazy("Converged: more time would not have helped")
    TIME_LIMIT = "time limit", gettext_lazy("Stopped at the time limit; the best model so far was kept")
    USER = "user", gettext_lazy("Stopped by a person; the best model so far was kept")
    PROMOTED = "promoted", gettext_lazy("Chosen among the candidates of a finished training")


class TrainingVersionQuerySet(JobRowQuerySet["TrainingVersion"]):
    def alive(self) -> TrainingVersionQuerySet:
        return self.filter(deleted_at=None)

    def active(self) -> Self:
        return super().active().filter(deleted_at=None)

    def completed(self) -> TrainingVersionQuerySet:
        return self.alive().filter(status=Status.COMPLETED)


class TrainingVersion(JobRow):
    """One training of a project. The row is the truth; Redis only carries the job.

    Every change of `status` is one conditional UPDATE whose row count is checked (`versions.lifecycle`,
    `versions.recovery`, `jobs`). Final states stay final.
    """

    JOB = "train_version"
    UNSTARTED = (Status.INITIALIZING,)
    ACTIVE = ACTIVE
    CANCELLED = Status.STOPPED
    WANTED = {"stop_requested_at": None, "project__deleted_at": None}

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="training_versions")
    number = models.PositiveIntegerField()
    job_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # One per opened confirmation page: a second press of Submit finds the version of the first.
    submission = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    dataset_version = models.ForeignKey(
        DatasetVersion, on_delete=models.PROTECT, related_name="training_versions"
    )

    # --- configuration ---
    training_ratio = models.DecimalField(max_digits=6, decimal_places=5)
    incremental_version = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="continued_by"
    )
    # Set if nothing is trained: this version is another candidate of a finished version.
    promoted_candidate = models.ForeignKey(
        "Candidate", on_delete=models.SET_NULL, null=True, blank=True, related_name="promotions"
    )
    inference_hardware = models.CharField(max_length=8, choices=Hardware.choices, default=Hardware.NV_P4)
    max_inference_ms = models.PositiveIntegerField(
        default=500, validators=[MinValueValidator(MIN_INFERENCE_MS), MaxValueValidator(MAX_INFERENCE_MS)]
    )
    max_training_minutes = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(MIN_TRAINING_MINUTES), MaxValueValidator(MAX_TRAINING_MINUTES)],
    )
    flavor = models.ForeignKey(InstanceFlavor, on_delete=models.PROTECT, related_name="training_versions")
    flavor_name = models.CharField(max_length=64)  # as it was when submitted
    price_per_hour = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    submitted_at = models.DateTimeField(auto_now_add=True)

    # --- notes of the team ---
    title = models.CharField("name", max_length=64, blank=True)
    note = models.TextField(blank=True, max_length=2000)
    is_starred = models.BooleanField(default=False)

    # --- answer settings: what people changed in the model's own rule; see `AnswerSettings.as_json` ---
    answer_settings = models.JSONField(default=dict, blank=True)
    answer_settings_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    answer_settings_at = models.DateTimeField(null=True, blank=True)

    # --- state and progress ---
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.INITIALIZING)
    attempt = models.PositiveSmallIntegerField(default=1)
    claimed_attempt = models.PositiveSmallIntegerField(default=0)  # an attempt is claimed by one job only
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    stop_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # {"message", "fraction", "remaining_s", "notes": […]; "best_accuracy" and "curve": [[seconds, accuracy],
    # …] on the same "judged" images; "unreadable" and "seen_before": validation images that judged nothing;
    # "is_waiting": for a storage or database that is away}
    progress = models.JSONField(default=dict, blank=True)

    # --- result ---
    stop_reason = models.CharField(max_length=10, choices=StopReason.choices, blank=True)
    failure_cause = models.TextField(blank=True)
    failure_remedy = models.TextField(blank=True)
    ran_on = models.CharField(max_length=128, blank=True)  # "CPU (no GPU on this machine)"
    model_name = models.CharField(max_length=128, blank=True)
    model_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    inference_ms = models.FloatField(null=True, blank=True)
    inference_low_ms = models.FloatField(
        null=True,
        blank=True,
        help_text="lower quartile of the repetitions",  # not translated: admin
    )
    inference_high_ms = models.FloatField(null=True, blank=True, help_text="upper quartile")
    is_inference_measured = models.BooleanField(default=False)
    seconds_by_phase = models.JSONField(default=dict, blank=True)
    # the engine's ImagesUsed: {"given", "fitted", "fewest", "judged", "left_out": {cause: images}}
    images_used = models.JSONField(default=dict, blank=True, editable=False)
    # what it answers with by default, and the engine's NumberFormatReport of each that was compared
    number_format = models.CharField(max_length=8, choices=NumberFormat.choices, default=NumberFormat.FLOAT32)
    number_formats = models.JSONField(default=list, blank=True, editable=False)
    # {"labels": […], "matrix": [[…]]}: rows are the true labels, columns the predicted ones
    confusion = models.JSONField(default=dict, blank=True)
    # the fields of engine.config.CrossValidation; empty where there is none
    cross_validation = models.JSONField(default=dict, blank=True, editable=False)
    # label → [images, recall now, gain of 20 more, its 95 % interval low, high]; by assist.forecast_gains
    learning = models.JSONField(default=dict, blank=True, editable=False)
    # {"state": making, made or failed, "bytes", "parity": {…}, "problem"}; by onnx_export
    export = models.JSONField(default=dict, blank=True, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = TrainingVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "number"], name="training_version_number_unique_in_project"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=Status.values), name="training_status_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(max_inference_ms__range=(MIN_INFERENCE_MS, MAX_INFERENCE_MS)),
                name="max_inference_ms_in_range",
            ),
            models.CheckConstraint(
                condition=models.Q(max_training_minutes__range=(MIN_TRAINING_MINUTES, MAX_TRAINING_MINUTES)),
                name="max_training_minutes_in_range",
            ),
            models.CheckConstraint(
                condition=~models.Q(status__in=FINAL) | models.Q(finished_at__isnull=False),
                name="a_final_version_has_an_end",
            ),
        ]
        indexes = [models.Index(fields=["status", "heartbeat_at"], name="sweep_of_versions")]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"V{self.number:03d}"

    @property
    def rq_id(self) -> str:
        """Of the job of the current attempt."""
        return f"training-{self.pk}-{self.attempt}"

    @property
    def queue_name(self) -> str:
        return self.flavor.queue

    @property
    def job_args(self) -> tuple[int, ...]:
        return self.pk, self.attempt

    @property
    def job_options(self) -> dict[str, Any]:
        of_project = f"of project {self.project_id}, attempt {self.attempt}"  # not translated: admin
        return {
            "timeout_s": int((self.limit + JOB_SLACK + STORAGE_WAIT).total_seconds()),
            "result_ttl": 3600,
            "failure_ttl": 7 * 24 * 3600,
            # not translated: admin
            "description": f"{self} {of_project}",
        }

    def enqueue_now(self) -> bool:
        """Also say on the version's page that the queue does not answer, or that it is back."""
        is_enqueued = super().enqueue_now()
        if not is_enqueued or self.progress.get("message") == QUEUE_UNAVAILABLE:
            progress = {} if is_enqueued else {"message": QUEUE_UNAVAILABLE}
            waiting = TrainingVersion.objects.filter(pk=self.pk, status=Status.INITIALIZING)
            if waiting.update(progress=progress):
                self.progress = progress
        return is_enqueued

    def held(self) -> TrainingVersionQuerySet:
        return TrainingVersion.objects.alive().filter(pk=self.pk, attempt=self.attempt, status=Status.RUNNING)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def is_completed(self) -> bool:
        return self.status == Status.COMPLETED

    @property
    def elapsed(self) -> timedelta:
        """Time from the start to the end or, while it runs, to now. Zero before the start."""
        if self.started_at is None:
            return timedelta(0)
        return (self.finished_at or timezone.now()) - self.started_at

    @property
    def limit(self) -> timedelta:
        return timedelta(minutes=self.max_training_minutes)

    @property
    def folder(self) -> str:
        """Folder of its files in the default storage: bundle/, charts/, evaluation.json."""
        return f"training/{self.pk}"

    @property
    def checkpoint_folder(self) -> str:
        """Folder of a running training's checkpoint in a remote storage."""
        return f"{self.folder}/checkpoint"

"""Imports that run in a worker, data sources that are synchronized again, and backups that were made."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy

from exeml_site.lib.job_row import JobRow, JobRowQuerySet
from projects.models.project import Project


class DataSource(models.Model):
    """A server folder or S3 prefix, below a root that an operator allowed, from which a project imports."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="data_source")
    address = models.CharField(max_length=1024)
    has_folder_labels = models.BooleanField("sub-folders are labels", default=False)
    chosen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    synchronized_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.address


class Transfer(JobRow):
    """One import that runs in a worker. An import killed at any moment resumes without duplicates.

    `options` holds the choices of the person and the uploaded files; `cursor` is the number of items of the
    plan that are done. `report` is `{"counts": {outcome: n}, "files": {outcome: n}, "total_files": n,
    "merged_labels": {spelling: label}, "vanished": [image ids], "preview": what was found}`.
    """

    class Kind(models.TextChoices):
        ZIP = "zip", gettext_lazy("Zip archive")
        MANIFEST = "manifest", gettext_lazy("ModelArts manifest")
        CSV = "csv", gettext_lazy("CSV table")
        SOURCE = "source", gettext_lazy("Data source")
        PROJECT = "project", gettext_lazy("Project file")

    class Status(models.TextChoices):
        UPLOADING = "Uploading", gettext_lazy("Uploading")
        REVIEW = "Review", gettext_lazy("Review")  # a person looks at what was found before it is imported
        WAITING = "Waiting", gettext_lazy("Waiting")
        RUNNING = "Running", gettext_lazy("Running")
        COMPLETED = "Completed", gettext_lazy("Completed")
        FAILED = "Failed", gettext_lazy("Failed")
        CANCELLED = "Cancelled", gettext_lazy("Cancelled")

    JOB = "run_import"
    UNSTARTED = (Status.UPLOADING, Status.REVIEW, Status.WAITING)
    ACTIVE = (Status.WAITING, Status.RUNNING)
    CANCELLED = Status.CANCELLED
    WANTED = {"is_cancel_wanted": False, "project__deleted_at": None}

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="transfers")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.WAITING, db_column="state")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    is_cancel_wanted = models.BooleanField(default=False)
    file_name = models.CharField(
        max_length=255,
        blank=True,
        help_text="name of the uploaded file",  # not translated: for the admin
    )
    options = models.JSONField(default=dict)
    total = models.PositiveIntegerField(default=0)
    cursor = models.PositiveIntegerField(default=0)
    report = models.JSONField(default=dict)
    problem = models.TextField(
        blank=True,
        help_text="for the person: what went wrong and what to do",  # not translated: for the admin
    )

    objects = JobRowQuerySet["Transfer"].as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    status__in=[
                        "Uploading",
                        "Review",
                        "Waiting",
                        "Running",
                        "Completed",
                        "Failed",
                        "Cancelled",
                    ]
                ),
                name="transfer_state_is_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.file_name}".strip()


class RejectedFile(models.Model):
    """A file that an import rejected, or whose label it rejected, with the reason."""

    transfer = models.ForeignKey(Transfer, on_delete=models.CASCADE, related_name="rejected_files")
    name = models.CharField(max_length=1024)
    reason = models.CharField(max_length=500)

    class Meta:
        db_table = "projects_transferrefusal"
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Backup(models.Model):
    """A backup that was made or tried (projects.backup); `problem` says why there is none.

    `finished_at` is empty, and `problem` is not, where it failed.
    """

    path = models.CharField(max_length=1024)
    host = models.CharField(max_length=255)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True)
    is_scheduled = models.BooleanField(default=False)
    row_count = models.PositiveBigIntegerField(default=0)
    file_count = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    vanished_count = models.PositiveBigIntegerField(
        default=0,
        help_text="files that rows name, but the storage did not have",  # not translated: admin
    )
    problem = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.path

"""Image: one picture of a project, its query set, and its split."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy

from projects.models.label import Label
from projects.models.project import Project

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Split(models.TextChoices):
    """Training, validation or test; the values are those of the manifest's `usage`.

    Test images come from imported test sets or were set aside by a person. They are published, and neither
    trained nor validated on.
    """

    TRAIN = "TRAIN", gettext_lazy("Training")
    EVAL = "EVAL", gettext_lazy("Validation")
    TEST = "TEST", gettext_lazy("Test")


class OpinionState(models.TextChoices):
    """State of the second, blind opinion on an image."""

    WANTED = "wanted", gettext_lazy("Waits for a second opinion")
    AGREES = "agrees", gettext_lazy("Both agree")
    DIFFERS = "differs", gettext_lazy("The opinions differ")
    CONFIRMED = "confirmed", gettext_lazy("Confirmed by a reviewer")
    REJECTED = "rejected", gettext_lazy("Rejected by a reviewer")


class ImageQuerySet(models.QuerySet["Image"]):
    def alive(self) -> ImageQuerySet:
        return self.filter(deleted_at=None)

    def binned(self) -> ImageQuerySet:
        return self.filter(deleted_at__gt=EPOCH)  # a range that an index serves, unlike “not null”

    # SQLite uses an index for `IN (0)`, but not for `NOT is_labeled`, into which Django turns `=False`.

    def labeled(self) -> ImageQuerySet:
        return self.alive().filter(is_labeled__in=[True])

    def unlabeled(self) -> ImageQuerySet:
        return self.alive().filter(is_labeled__in=[False])


class Image(models.Model):
    """One picture of a project. The file is stored unchanged under its sha256."""

    # No index of `project` alone: every labeling writes each index, and those of the grid begin with project.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="images", db_index=False)
    sha256 = models.CharField(max_length=64)
    name = models.CharField("file name", max_length=255)
    format = models.CharField(max_length=8)  # a key of projects.formats.pictures.picture_formats.FORMATS
    width = models.PositiveIntegerField(help_text="pixels, upright")
    height = models.PositiveIntegerField(help_text="pixels, upright")
    size_bytes = models.PositiveBigIntegerField()
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    uploaded_at = models.DateTimeField(auto_now_add=True)
    # Whether an Annotation exists; only `labels.annotations` writes it. Counting 100,000 images needs it.
    is_labeled = models.BooleanField(default=False)
    # Set by an import or by the first publication, and kept: EVAL stays EVAL in later dataset versions.
    split = models.CharField(max_length=5, choices=Split.choices, blank=True, db_column="side")
    # Path below the project's data source or within an imported archive.
    source = models.CharField(max_length=1024, blank=True)
    transfer = models.ForeignKey(
        "Transfer", on_delete=models.SET_NULL, null=True, blank=True, related_name="images"
    )
    # Of the thumbnail: mean luminance 0–255; variance of its Laplacian, low where blurred. Null until the
    # image is embedded.
    brightness = models.FloatField(null=True, blank=True)
    sharpness = models.FloatField(null=True, blank=True)
    is_hard = models.BooleanField("hard example", default=False)
    # Comma-separated numbers of `quality.hard_examples.REASONS`, found by the workers; empty: not hard.
    hard_reasons = models.CharField(max_length=32, blank=True)
    opinion = models.CharField(max_length=9, choices=OpinionState.choices, blank=True)

    # --- Computed by the workers; can be computed again. ---
    # The most probable label that nobody rejected for this image, with its probability.
    suggestion = models.ForeignKey(
        Label, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    confidence = models.FloatField(null=True, blank=True)
    # Acquisition score of active learning: high for uncertain images that differ from those chosen before.
    acquisition_score = models.FloatField(null=True, blank=True, db_column="usefulness")
    # Of a labeled image: a more probable other label, with its out-of-fold probability.
    suspected_label = models.ForeignKey(
        Label,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        db_column="suspicion_id",
    )
    suspected_confidence = models.FloatField(null=True, blank=True, db_column="suspicion_confidence")
    # Outlier score: distance to the nearest neighbours over the usual distance in the project; 1 is usual.
    outlier_score = models.FloatField(null=True, blank=True, db_column="oddness")
    # The lowest image id of a group of duplicates. Null: the image has no duplicate.
    duplicate_group = models.BigIntegerField(null=True, blank=True)

    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )

    objects = ImageQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "sha256"], name="no_exact_duplicate_in_project"),
            models.CheckConstraint(condition=models.Q(split__in=["", *Split.values]), name="side_is_known"),
            models.CheckConstraint(
                condition=models.Q(opinion__in=["", *OpinionState.values]), name="opinion_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "deleted_at", "is_labeled", "-id"], name="grid_of_a_tab"),
            models.Index(fields=["project", "deleted_at", "-id"], name="grid_of_all"),
            models.Index(fields=["project", "deleted_at", "name", "id"], name="grid_by_name"),
            models.Index(
                fields=["project", "is_labeled", "suggestion", "-confidence", "-id"],
                name="grid_of_suggestions",
                condition=models.Q(deleted_at=None, suggestion__isnull=False),
            ),
            models.Index(
                fields=["project", "is_labeled", "-confidence", "-id"],
                name="grid_by_confidence",
                condition=models.Q(deleted_at=None, suggestion__isnull=False),
            ),
            models.Index(
                fields=["project", "is_labeled", "-acquisition_score", "-id"],
                name="grid_by_usefulness",
                condition=models.Q(deleted_at=None, acquisition_score__isnull=False),
            ),
            models.Index(
                fields=["project", "-suspected_confidence", "-id"],
                name="grid_of_suspects",
                condition=models.Q(deleted_at=None, suspected_label__isnull=False),
            ),
            models.Index(
                fields=["project", "duplicate_group", "-id"],
                name="grid_of_duplicates",
                condition=models.Q(deleted_at=None, duplicate_group__isnull=False),
            ),
            # Readiness counts the test images that it leaves out.
            models.Index(fields=["project", "split", "deleted_at"], name="images_of_a_split"),
            # Deleting a label searches these columns; most images have null in them.
            models.Index(
                fields=["suggestion"],
                name="images_of_a_suggestion",
                condition=models.Q(suggestion__isnull=False),
            ),
            models.Index(
                fields=["suspected_label"],
                name="images_of_a_suspicion",
                condition=models.Q(suspected_label__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def file_name(self) -> str:
        """Name of the original file in the default storage."""
        return f"images/{self.project_id}/{self.sha256[:2]}/{self.sha256}.{self.format.lower()}"

    @property
    def thumbnail_name(self) -> str:
        """Name of the thumbnail in the default storage, where `images.thumbnail` keeps it."""
        return f"thumbnails/{self.project_id}/{self.sha256[:2]}/{self.sha256}.webp"

    @property
    def rendition_name(self) -> str:
        """Name of the picture as browsers show it, where they would show the original file differently."""
        return f"renditions/{self.project_id}/{self.sha256[:2]}/{self.sha256}.jpg"

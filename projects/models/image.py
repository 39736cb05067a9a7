"""Images, the labels they carry and the history of every labeling deed."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.db import models

from projects.models.label import Label
from projects.models.project import Project

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Split(models.TextChoices):
    """The side of the split, in the words of the manifest's `usage`."""

    TRAIN = "TRAIN", "Training"
    EVAL = "EVAL", "Validation"


class OpinionState(models.TextChoices):
    """What became of the second, blind opinion on an image."""

    WANTED = "wanted", "Waits for a second opinion"
    AGREES = "agrees", "Both agree"
    DIFFERS = "differs", "The opinions differ"
    CONFIRMED = "confirmed", "Confirmed by a reviewer"
    REJECTED = "rejected", "Rejected by a reviewer"


class ImageQuerySet(models.QuerySet["Image"]):
    def alive(self) -> ImageQuerySet:
        return self.filter(deleted_at=None)

    def binned(self) -> ImageQuerySet:
        return self.filter(deleted_at__gt=EPOCH)  # unlike “not null”, a range of an index

    # `IN (0)` finds its place in an index of SQLite; `NOT is_labeled`, as Django writes `=False`, does not.

    def labeled(self) -> ImageQuerySet:
        return self.alive().filter(is_labeled__in=[True])

    def unlabeled(self) -> ImageQuerySet:
        return self.alive().filter(is_labeled__in=[False])


class Image(models.Model):
    """One picture of a project. The file is stored unchanged under its sha256; a thumbnail lies beside it."""

    # Every label is written into each index, so none stands twice: those of the grid begin with the project.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="images", db_index=False)
    sha256 = models.CharField(max_length=64)
    name = models.CharField("file name", max_length=255)
    format = models.CharField(max_length=8)  # JPEG, PNG, BMP, WEBP
    width = models.PositiveIntegerField(help_text="pixels, upright")
    height = models.PositiveIntegerField(help_text="pixels, upright")
    size_bytes = models.PositiveBigIntegerField()
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    uploaded_at = models.DateTimeField(auto_now_add=True)
    # Whether an Annotation exists; kept true by `labels.annotations` alone. Counting 100,000 images needs it.
    is_labeled = models.BooleanField(default=False)
    # Given at the first publishing and kept: an image once EVAL stays EVAL in later dataset versions.
    split = models.CharField(max_length=5, choices=Split.choices, blank=True, db_column="side")
    # Where it came from: its path below the project's data source or in an imported archive.
    source = models.CharField(max_length=1024, blank=True)
    transfer = models.ForeignKey(
        "Transfer", on_delete=models.SET_NULL, null=True, blank=True, related_name="images"
    )
    # Of the thumbnail, at upload: mean luminance 0–255; variance of its Laplacian, low where blurred.
    brightness = models.FloatField(null=True, blank=True)
    sharpness = models.FloatField(null=True, blank=True)
    is_hard = models.BooleanField("hard example", default=False)
    # Numbers of `quality.hard_examples.REASONS` with commas between, as the workers see it; empty: not hard.
    hard_reasons = models.CharField(max_length=32, blank=True)
    opinion = models.CharField(max_length=9, choices=OpinionState.choices, blank=True)

    # --- What the workers found; all of it may be lost and is found again. ---
    # The label that the image seems to have, with its probability; never one that somebody refused for it.
    suggestion = models.ForeignKey(
        Label, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    confidence = models.FloatField(null=True, blank=True)
    # The higher, the more a label of this image would teach: uncertain and unlike what was chosen before.
    acquisition_score = models.FloatField(null=True, blank=True, db_column="usefulness")
    # Of a labeled image: the label that it seems to have instead, with its out-of-fold probability.
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
    # Distance to its nearest neighbours over what is usual in the project; 1 is usual.
    outlier_score = models.FloatField(null=True, blank=True, db_column="oddness")
    # Images of one group are copies of each other: the lowest id among them. Null: it has no copy.
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
            # A label that goes is looked for in these columns; most images have none.
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
        """Where the stored file lies in the default storage."""
        return f"images/{self.project_id}/{self.sha256[:2]}/{self.sha256}.{self.format.lower()}"

    @property
    def thumbnail_name(self) -> str:
        """Where the thumbnail lies in the default storage."""
        return f"thumbnails/{self.project_id}/{self.sha256[:2]}/{self.sha256}.webp"

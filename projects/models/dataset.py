"""Dataset versions: the labeled images of one moment, frozen in a manifest."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy

from projects.models.project import Project

VERSION_NAME = RegexValidator(
    r"\A[A-Za-z0-9_-]{1,32}\Z", gettext_lazy("Use 1 to 32 letters, digits, “_” or “-”.")
)


class DatasetVersion(models.Model):
    """A dataset version: its name is reserved when a training is submitted; the training's job publishes it.

    `manifest` names a JSON Lines file in the default storage. No field changes after `published_at`.
    `counts` is `{label: {"TRAIN": n, "EVAL": n}}`, with TEST if it has any. `split` is the report of
    `datasets.leakage.split_report`, `portrait` the statistics of `datasets.statistics.compute_statistics`;
    old versions have neither.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="dataset_versions")
    name = models.CharField(max_length=32, validators=[VERSION_NAME])
    training_ratio = models.DecimalField(max_digits=6, decimal_places=5)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True, blank=True)
    manifest = models.CharField(max_length=255, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    counts = models.JSONField(default=dict)
    split = models.JSONField(default=dict, editable=False)
    statistics = models.JSONField(default=dict, editable=False, db_column="portrait")
    image_count = models.PositiveIntegerField(default=0)
    train_count = models.PositiveIntegerField(default=0)
    eval_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                "project",
                Lower("name"),
                name="dataset_version_name_unique_in_project",
                violation_error_message=gettext_lazy(
                    "This project already has a dataset version of this name."
                ),
            ),
            models.CheckConstraint(
                condition=models.Q(training_ratio__gt=0) & models.Q(training_ratio__lt=1),
                name="training_ratio_between_0_and_1",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def test_count(self) -> int:
        """Images of the test split: in the manifest, but neither trained nor validated on."""
        return self.image_count - self.train_count - self.eval_count

    @property
    def is_published(self) -> bool:
        return self.published_at is not None

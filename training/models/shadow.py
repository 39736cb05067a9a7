"""Answers of two versions to the same images of calls: one was given, the other only kept."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from training.models.service import CollectedCall, Service
from training.models.version import TrainingVersion


class ShadowCount(models.Model):
    """How many images of a service's calls both versions predicted, since they were first compared.

    `training_version` is the service's own, `shadow_version` its shadow or canary.
    """

    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="shadow_counts")
    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="+")
    shadow_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="+")
    images = models.PositiveBigIntegerField(
        default=0,
        help_text="predicted by both",  # not translated: admin
    )
    agreed = models.PositiveBigIntegerField(default=0)
    skipped = models.PositiveBigIntegerField(
        default=0,
        help_text="no time for the second prediction",  # not translated: admin
    )
    failed = models.PositiveBigIntegerField(
        default=0,
        help_text="the second prediction failed",  # not translated: admin
    )
    first_at = models.DateTimeField(default=timezone.now)
    last_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["service", "training_version", "shadow_version"], name="one_count_for_each_pair"
            )
        ]

    def __str__(self) -> str:
        pair = f"{self.training_version}, {self.shadow_version}"
        return f"{pair}: {self.agreed} of {self.images} alike"  # not translated: admin


class ShadowAnswer(models.Model):
    """What the two versions predicted for one image: where they differ, or where the image was collected."""

    id = models.UUIDField(primary_key=True, editable=False)  # the request id
    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="shadow_answers")
    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="+")
    shadow_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    predicted = models.JSONField(default=list)  # labels of training_version
    score = models.FloatField()
    shadow_predicted = models.JSONField(default=list)
    shadow_score = models.FloatField()
    agrees = models.BooleanField()
    collected = models.OneToOneField(
        CollectedCall, on_delete=models.CASCADE, null=True, blank=True, related_name="shadow_answer"
    )

    class Meta:
        ordering = ["-at"]
        indexes = [
            models.Index(
                fields=["service", "training_version", "shadow_version", "at"], name="answers_of_a_pair"
            )
        ]

    def __str__(self) -> str:
        return str(self.pk)

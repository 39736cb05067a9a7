"""Results of a training: candidates, metrics, evaluated images and curves."""

from __future__ import annotations

import json

from django.db import models

from projects.models import Image
from training.models.version import TrainingVersion


class Candidate(models.Model):
    """One model that the search trained or skipped."""

    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="candidates")
    network = models.CharField(max_length=255)  # names joined by “+”
    resolution = models.PositiveIntegerField(help_text="pixels")
    recipe = models.CharField(max_length=128)  # "linear head", "fine-tuned + linear head"
    accuracy = models.FloatField(null=True, blank=True, help_text="on held-back training images")
    inference_ms = models.FloatField(null=True, blank=True)
    inference_low_ms = models.FloatField(null=True, blank=True, help_text="lower quartile of the repetitions")
    inference_high_ms = models.FloatField(null=True, blank=True, help_text="upper quartile")
    is_measured = models.BooleanField(default=False)
    is_admissible = models.BooleanField(default=True)
    is_best = models.BooleanField(default=False)
    seconds = models.FloatField(default=0)
    error = models.TextField(blank=True)
    place = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="in the search, where its weights were kept"
    )

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.network} {self.resolution} px, {self.recipe}"


class Metric(models.Model):
    """One number of the evaluation: overall if `label` is empty, else of that label.

    Overall precision, recall and F1 are macro averages. `value` is None where it is undefined (0 of 0).
    """

    class Name(models.TextChoices):
        ACCURACY = "accuracy", "Accuracy"
        PRECISION = "precision", "Precision"
        RECALL = "recall", "Recall"
        F1 = "f1", "F1 Score"

    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="metrics")
    label = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=9, choices=Name.choices)
    value = models.FloatField(null=True, blank=True)
    low = models.FloatField(null=True, blank=True, help_text="lower end of the 95 % Wilson interval")
    high = models.FloatField(null=True, blank=True, help_text="upper end of the 95 % Wilson interval")
    hits = models.PositiveIntegerField(null=True, blank=True)
    support = models.PositiveIntegerField(default=0, help_text="images that the rate was counted on")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["training_version", "label", "name"], name="a_metric_once_per_version"
            ),
            models.CheckConstraint(
                condition=models.Q(value=None) | models.Q(value__range=(0, 1)), name="a_metric_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label or 'overall'} {self.name} {self.value}"


class EvaluatedImageQuerySet(models.QuerySet["EvaluatedImage"]):
    def with_true_label(self, label: str) -> EvaluatedImageQuerySet:
        return self._naming("true_names", label)

    def with_predicted_label(self, label: str) -> EvaluatedImageQuerySet:
        return self._naming("predicted_names", label)

    def _naming(self, column: str, label: str) -> EvaluatedImageQuerySet:
        """Images whose column contains the whole name; the column holds names joined by line breaks."""
        alone, first = models.Q(**{column: label}), models.Q(**{f"{column}__startswith": f"{label}\n"})
        among = models.Q(**{f"{column}__contains": f"\n{label}\n"})
        return self.filter(alone | first | among | models.Q(**{f"{column}__endswith": f"\n{label}"}))


class EvaluatedImage(models.Model):
    """The stored prediction of one validation image; every number of an evaluation is computed from these."""

    training_version = models.ForeignKey(
        TrainingVersion, on_delete=models.CASCADE, related_name="evaluated_images"
    )
    image = models.ForeignKey(Image, on_delete=models.SET_NULL, null=True, related_name="+")
    truth = models.JSONField()  # label names as they were in the dataset version
    predicted = models.JSONField()
    true_names = models.TextField(default="")  # `truth` joined by line breaks, for searching
    predicted_names = models.TextField(default="")
    scores = models.JSONField()  # in the order of the bundle's labels
    confidence = models.FloatField()
    is_correct = models.BooleanField()
    # Whether the model knows this kind of image, and its familiarity, 0 to 1; None if the model cannot say.
    is_known = models.BooleanField(null=True)
    familiarity = models.FloatField(null=True)

    objects = EvaluatedImageQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["training_version", "image"], name="an_image_evaluated_once"),
        ]
        indexes = [
            models.Index(
                fields=["training_version", "is_correct", "-confidence", "id"], name="mistakes_surest_first"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.truth} → {self.predicted}"


class LaterPrediction(models.Model):
    """A version's prediction of an image outside its validation split; used only to compare versions."""

    training_version = models.ForeignKey(
        TrainingVersion, on_delete=models.CASCADE, related_name="later_predictions"
    )
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    predicted = models.JSONField(null=True)  # label names; null if the file cannot be read

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["training_version", "image"], name="an_image_predicted_later_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} → {self.predicted}"


class Curve(models.Model):
    """A curve of the evaluation over all thresholds, computed once from the stored predictions.

    `points`: THRESHOLD has 101 pairs (hits, predicted) of one label; COVERAGE 101 pairs (right, answered);
    CALIBRATION a triple (images, mean confidence, right) for each bin; KNOWN one pair (right, answered) of
    the images that the model takes as known. `area`: average precision (THRESHOLD) or expected calibration
    error (CALIBRATION).
    """

    class Kind(models.TextChoices):
        THRESHOLD = "threshold", "Thresholds of a label"
        CALIBRATION = "calibration", "Calibration"
        COVERAGE = "coverage", "Coverage and accuracy"
        KNOWN = "known", "Known images"

    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="curves")
    kind = models.CharField(max_length=11, choices=Kind.choices)
    label = models.CharField(max_length=64, blank=True)
    points = models.JSONField()
    area = models.FloatField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["training_version", "kind", "label"], name="a_curve_once_per_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.label}".strip()

    @property
    def points_json(self) -> str:
        """`points` as JSON for the page's script."""
        return json.dumps(self.points, separators=(",", ":"))

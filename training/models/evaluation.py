"""Results of a training: candidates, metrics, evaluated images and curves."""

from __future__ import annotations

from typing import Self, TypeVar

from django.db import models
from django.utils.translation import gettext_lazy

from projects.models import Image
from training.models.version import TrainingVersion

Prediction = TypeVar("Prediction", bound="StoredPrediction", covariant=True)


class Candidate(models.Model):
    """One model that the search trained or skipped."""

    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="candidates")
    network = models.CharField(max_length=255)  # names joined by “+”
    resolution = models.PositiveIntegerField(help_text="pixels")
    recipe = models.CharField(max_length=128)  # "linear head", "fine-tuned + linear head"
    accuracy = models.FloatField(
        null=True,
        blank=True,
        help_text="on all images that it held out; "  # not translated: admin
        "compares with no other candidate's",
    )
    fitted = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="training images it was fitted on",  # not translated: admin
    )
    judged = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="training images it held out",  # not translated: admin
    )
    # On the images that all ranked candidates held out; None for one that is not ranked.
    common_images = models.PositiveIntegerField(null=True, blank=True)
    common_hits = models.PositiveIntegerField(null=True, blank=True)
    common_loss = models.FloatField(null=True, blank=True)
    p_value = models.FloatField(
        null=True,
        blank=True,
        help_text="of the difference from the chosen candidate, "  # not translated: admin
        "on the common images",
    )
    inference_ms = models.FloatField(null=True, blank=True)
    inference_low_ms = models.FloatField(
        null=True,
        blank=True,
        help_text="lower quartile of the repetitions",  # not translated: admin
    )
    inference_high_ms = models.FloatField(null=True, blank=True, help_text="upper quartile")
    is_measured = models.BooleanField(default=False)
    is_admissible = models.BooleanField(default=True)
    is_best = models.BooleanField(default=False)
    seconds = models.FloatField(default=0)
    error = models.TextField(blank=True)
    place = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="in the search, where its weights were kept",  # not translated: admin
    )

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.network} {self.resolution} px, {self.recipe}"

    @property
    def common_accuracy(self) -> float | None:
        """The accuracy on the images that all ranked candidates held out."""
        if not self.common_images or self.common_hits is None:
            return None
        return self.common_hits / self.common_images


class Metric(models.Model):
    """One number of the evaluation: overall if `label` is empty, else of that label.

    Overall precision, recall and F1 are macro averages. `value` is None where it is undefined (0 of 0).
    """

    class Name(models.TextChoices):
        ACCURACY = "accuracy", gettext_lazy("Accuracy")
        PRECISION = "precision", gettext_lazy("Precision")
        RECALL = "recall", gettext_lazy("Recall")
        F1 = "f1", gettext_lazy("F1 Score")

    training_version = models.ForeignKey(TrainingVersion, on_delete=models.CASCADE, related_name="metrics")
    label = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=9, choices=Name.choices)
    value = models.FloatField(null=True, blank=True)
    low = models.FloatField(
        null=True,
        blank=True,
        help_text="lower end of the 95 % interval",  # not translated: admin
    )
    high = models.FloatField(
        null=True,
        blank=True,
        help_text="upper end of the 95 % interval",  # not translated: admin
    )
    hits = models.PositiveIntegerField(null=True, blank=True)
    support = models.PositiveIntegerField(
        default=0,
        help_text="images that the rate was counted on",  # not translated: admin
    )

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


class StoredPredictionQuerySet(models.QuerySet[Prediction]):
    def with_true_label(self, label: str) -> Self:
        return self._naming("true_names", label)

    def with_predicted_label(self, label: str) -> Self:
        return self._naming("predicted_names", label)

    def _naming(self, column: str, label: str) -> Self:
        """Images whose column contains the whole name; the column holds names joined by line breaks."""
        alone, first = models.Q(**{column: label}), models.Q(**{f"{column}__startswith": f"{label}\n"})
        among = models.Q(**{f"{column}__contains": f"\n{label}\n"})
        return self.filter(alone | first | among | models.Q(**{f"{column}__endswith": f"\n{label}"}))


class StoredPrediction(models.Model):
    """A version's prediction of one labeled image; every number of an evaluation is computed from these."""

    image = models.ForeignKey(Image, on_delete=models.SET_NULL, null=True, related_name="+")
    truth = models.JSONField()  # label names as they were when the image was evaluated
    predicted = models.JSONField()
    true_names = models.TextField(default="")  # `truth` joined by line breaks, for searching
    predicted_names = models.TextField(default="")
    scores = models.JSONField()  # in the order of the bundle's labels
    confidence = models.FloatField()
    is_correct = models.BooleanField()
    # Whether the model knows this kind of image, and its familiarity, 0 to 1; None if the model cannot say.
    is_known = models.BooleanField(null=True)
    familiarity = models.FloatField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.truth} → {self.predicted}"


class EvaluatedImage(StoredPrediction):
    """The stored prediction of one validation image."""

    training_version = models.ForeignKey(
        TrainingVersion, on_delete=models.CASCADE, related_name="evaluated_images"
    )

    objects = StoredPredictionQuerySet["EvaluatedImage"].as_manager()

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

    `points`: THRESHOLD has 101 pairs (hits, predicted) of one label; COVERAGE, where images carry one label,
    101 pairs (right, answered); CALIBRATION a triple (decisions, mean confidence, right) for each bin, of all
    labels and, where images carry several, also of each; KNOWN one pair (right, answered) of the images that
    the model takes as known. `area`: average precision (THRESHOLD) or expected calibration error.
    """

    class Kind(models.TextChoices):
        THRESHOLD = "threshold", gettext_lazy("Thresholds of a label")
        CALIBRATION = "calibration", gettext_lazy("Calibration")
        COVERAGE = "coverage", gettext_lazy("Coverage and accuracy")
        KNOWN = "known", gettext_lazy("Known images")

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

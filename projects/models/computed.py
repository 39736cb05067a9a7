"""Data that the workers compute per image: embedding, duplicate key, prediction. It can be computed again."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from projects.models.image import Image
from projects.models.label import Label


class Embedding(models.Model):
    """Features of an image by a pretrained network, for suggestions, nearest neighbours and label checks.

    `vector` is float16 [D] with norm 1. `sketch` holds the signs of 512 fixed projections of it (64 bytes):
    the search for neighbours compares sketches first.
    """

    image = models.OneToOneField(Image, on_delete=models.CASCADE, primary_key=True, related_name="embedding")
    network = models.CharField(max_length=64)
    sketch = models.BinaryField(max_length=64)
    vector = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.network}: {self.image_id}"


class DuplicateKey(models.Model):
    """Input of the search for duplicates: the thumbnail at 32 by 32 RGB pixels, 3,072 bytes.

    Stored because decoding 100,000 thumbnails takes a minute and reading these rows takes seconds.
    """

    image = models.OneToOneField(
        Image, on_delete=models.CASCADE, primary_key=True, related_name="duplicate_key"
    )
    pixels = models.BinaryField()

    class Meta:
        db_table = "projects_miniature"

    def __str__(self) -> str:
        return f"duplicate_key of {self.image_id}"


class RejectedSuggestion(models.Model):
    """A suggestion that a person rejected: this label is not suggested for this image again."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="rejected_suggestions")
    label = models.ForeignKey(Label, on_delete=models.CASCADE, related_name="+")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "projects_refusal"
        constraints = [
            models.UniqueConstraint(fields=["image", "label"], name="a_label_is_refused_once_per_image")
        ]

    def __str__(self) -> str:
        return f"{self.image_id} is not {self.label}"


class Prediction(models.Model):
    """Prediction of a Completed training version for an unlabeled image. `version` is the version's job id.

    `scores` are the five most probable labels, `[[label name, probability], …]`.
    """

    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="prediction")
    version = models.CharField(max_length=36)
    scores = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.image_id} by {self.version}"

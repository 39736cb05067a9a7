"""What the workers keep of an image so that suggestions come in seconds."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from projects.models.image import Image
from projects.models.label import Label


class Embedding(models.Model):
    """Features of an image by a pretrained network, for suggestions, neighbours and checks of the labels.

    `vector` is float16 at length 1, `sketch` the signs of 512 fixed projections of it, 64 bytes, by which
    neighbours are looked for first.
    """

    image = models.OneToOneField(Image, on_delete=models.CASCADE, primary_key=True, related_name="embedding")
    network = models.CharField(max_length=64)
    sketch = models.BinaryField(max_length=64)
    vector = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.network}: {self.image_id}"


class DuplicateKey(models.Model):
    """What the search for copies looks at of an image: 32 by 32 RGB pixels of its thumbnail, 3,072 bytes.

    Decoding 100,000 thumbnails takes a minute, reading these seconds. They may be lost and are made again.
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
    """Somebody looked at the image and said that it does not have this label: nothing proposes it again."""

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
    """What a Completed training version says about an unlabeled image. `version` is the version's job id.

    `scores` are the five best, `[[label name, probability], …]`.
    """

    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="prediction")
    version = models.CharField(max_length=36)
    scores = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.image_id} by {self.version}"

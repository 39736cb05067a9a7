"""Metadata of images: columns of a project, such as person or camera, and the values of its images."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from projects.models.image import Image
from projects.models.project import Project

MAX_COLUMNS = 20
MAX_COLUMN_NAME = 64
MAX_VALUE = 200


class MetadataColumn(models.Model):
    """A column of metadata of a project's images.

    `is_never_split`: all images of one value are in one split of a dataset version. `alike` is what
    `quality.look_alikes` measured: the share of the sampled images whose nearest image has the same value;
    `alike_by_chance` is that share if values said nothing about the look of an image.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="metadata_columns")
    name = models.CharField(max_length=MAX_COLUMN_NAME)
    is_never_split = models.BooleanField("never split", default=False)
    alike = models.FloatField(null=True, blank=True, editable=False)
    alike_by_chance = models.FloatField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint("project", Lower("name"), name="metadata_column_unique_in_project"),
        ]

    def __str__(self) -> str:
        return self.name


class MetadataValue(models.Model):
    """The value that one image has in a column; an image without a row has none."""

    # The unique constraint serves lookups by image, the index lookups by column and value.
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="metadata", db_index=False)
    column = models.ForeignKey(
        MetadataColumn, on_delete=models.CASCADE, related_name="values", db_index=False
    )
    value = models.CharField(max_length=MAX_VALUE)

    class Meta:
        ordering = ["column", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["image", "column"], name="a_metadata_column_once_per_image"),
        ]
        indexes = [models.Index(fields=["column", "value", "image"], name="images_of_a_metadata_value")]

    def __str__(self) -> str:
        return f"{self.column}: {self.value}"

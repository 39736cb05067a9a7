"""Collaboration: assigned images, presence of people, and second opinions."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from projects.models.image import Image
from projects.models.project import Project


class Assignment(models.Model):
    """An unlabeled image assigned to a person. Others may label it, too; labeling deletes the assignment."""

    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="assignment")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="assignments")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.image_id} for {self.user}"


class Presence(models.Model):
    """The last sign of a person in a project; `image` is the one in focus."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="presences")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="presences")
    image = models.ForeignKey(Image, on_delete=models.SET_NULL, null=True, related_name="+")
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_presence_per_project_and_user")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project}"


class Opinion(models.Model):
    """A second person's labels for an image, given without seeing the first.

    `labels` holds label ids; `first` the ids of the labels that the image had at that moment.
    """

    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="second_opinion")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    labels = models.JSONField(default=list)
    first = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.by} on {self.image_id}"

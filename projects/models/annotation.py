"""Annotations (labels on images), and the history of every action of a labeler."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy

from projects.models.image import Image
from projects.models.label import Label
from projects.models.project import Project


class AnnotationSource(models.TextChoices):
    """The origin of an annotation; the values are those of the manifest's `annotated-by`."""

    HUMAN = "human", gettext_lazy("By hand")
    SAMPLE = "sample", gettext_lazy("From the sample project")
    IMPORT = "import", gettext_lazy("Imported")
    SUGGESTION = "auto", gettext_lazy("Confirmed suggestion")


class Annotation(models.Model):
    """One label on one image."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="annotations", db_index=False)
    label = models.ForeignKey(Label, on_delete=models.CASCADE, related_name="annotations")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    source = models.CharField(
        max_length=8, choices=AnnotationSource.choices, default=AnnotationSource.HUMAN, db_column="how"
    )
    at = models.DateTimeField()
    confidence = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["label__position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["image", "label"], name="a_label_once_per_image"),
        ]

    def __str__(self) -> str:
        return f"{self.image}: {self.label}"


class LabelEvent(models.Model):
    """One action on labels or images, append-only. An undo is an event whose `undoes` is the undone event.

    `changes` is a list of `{"image": id, "from": [label names], "to": [label names]}`. `details` holds what
    the undo of an action needs in addition (colour and key of a label, annotations of a deleted label, the
    splits of images before and after). A change may also hold `"values": {column: [before, after]}`, metadata
    of the image; empty is no value. An event that came with a project file has `details` of `{"text": the
    action in English, "by_name": the person's name there}`, and cannot be undone.
    """

    class Kind(models.TextChoices):
        LABEL = "label", gettext_lazy("Labeled")
        CONFIRM = "confirm", gettext_lazy("Confirmed suggestions")
        IMPORT = "import", gettext_lazy("Imported")
        RENAME_LABEL = "rename-label", gettext_lazy("Renamed a label")
        EDIT_LABEL = "edit-label", gettext_lazy("Changed a label")
        MERGE_LABELS = "merge-labels", gettext_lazy("Merged labels")
        DELETE_LABEL = "delete-label", gettext_lazy("Deleted a label")
        DELETE_IMAGES = "delete-images", gettext_lazy("Deleted images")
        RESTORE_IMAGES = "restore-images", gettext_lazy("Restored images")
        METADATA = "metadata", gettext_lazy("Set metadata")
        SET_SPLIT = "set-split", gettext_lazy("Changed the split")
        UNDO = "undo", gettext_lazy("Undone")
        REDO = "redo", gettext_lazy("Redone")

    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="label_events", db_index=False
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    changes = models.JSONField(default=list)
    details = models.JSONField(default=dict)
    undoes = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="undone_by"
    )

    # Images of the whole action, where `labels.parts.read_image_counts` read it; not stored.
    image_count: int | None = None

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "-id"], name="history_of_a_project")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({len(self.changes)} images)"


class LabelEventImage(models.Model):
    """An image that an event changed: the index for the history of one image."""

    event = models.ForeignKey(LabelEvent, on_delete=models.CASCADE, related_name="event_images")
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="event_images", db_index=False)

    class Meta:
        db_table = "projects_touch"
        constraints = [
            models.UniqueConstraint(fields=["image", "event"], name="an_event_touches_an_image_once")
        ]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.image_id}"

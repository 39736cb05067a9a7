"""A project: one set of images, its labels and, elsewhere, its training versions."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from projects.models.team import Team

PROJECT_NAME = RegexValidator(
    r"\A[A-Za-z][A-Za-z0-9_-]{0,31}\Z",
    "Use 1 to 32 letters, digits, “_” or “-”, starting with a letter.",
)
LABEL_NAME = RegexValidator(
    r"\A(?=\S)[^\x00-\x1f\x7f/\\,;]{1,64}(?<=\S)\Z",
    "Use 1 to 64 characters without slash, comma, semicolon or line break.",
)
LABEL_COLOURS = 10  # tokens --label-0 … --label-9


class ProjectQuerySet(models.QuerySet["Project"]):
    def alive(self) -> ProjectQuerySet:
        return self.filter(deleted_at=None)

    def visible_to(self, user: User) -> ProjectQuerySet:
        """The living projects of the teams that `user` is a member of."""
        return self.alive().filter(team__memberships__user=user)


class Project(models.Model):
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="projects")
    name = models.CharField(max_length=32, validators=[PROJECT_NAME])
    description = models.CharField(max_length=256, blank=True)
    is_multi_label = models.BooleanField("several labels per image", default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    deleted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                "team",
                Lower("name"),
                condition=models.Q(deleted_at=None),
                name="project_name_unique_in_team",
                violation_error_message="Your team already has a project of this name.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Label(models.Model):
    """One class of a project. `position` gives its hot key: the first nine have 1–9."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="labels")
    name = models.CharField(max_length=64, validators=[LABEL_NAME])
    colour = models.PositiveSmallIntegerField(default=0)
    position = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(
                "project",
                Lower("name"),
                name="label_name_unique_in_project",
                violation_error_message="This project already has a label of this name.",
            ),
            models.CheckConstraint(
                condition=models.Q(colour__lt=LABEL_COLOURS), name="label_colour_is_a_token"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def hot_key(self) -> str:
        """The key that gives this label, or nothing past the ninth."""
        return str(self.position + 1) if self.position < 9 else ""

"""A project: one set of images and its labels."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy

from projects.models.team import Team

PROJECT_NAME = RegexValidator(
    r"\A[A-Za-z][A-Za-z0-9_-]{0,31}\Z",
    gettext_lazy("Use 1 to 32 letters, digits, “_” or “-”, starting with a letter."),
)


class ProjectQuerySet(models.QuerySet["Project"]):
    def alive(self) -> ProjectQuerySet:
        return self.filter(deleted_at=None)

    def visible_to(self, user: User) -> ProjectQuerySet:
        """Projects of the teams that `user` is a member of, without deleted ones."""
        return self.alive().filter(team__memberships__user=user)


class Project(models.Model):
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="projects")
    name = models.CharField(max_length=32, validators=[PROJECT_NAME])
    description = models.CharField(max_length=256, blank=True)
    is_multi_label = models.BooleanField(
        "several labels per image",  # not translated: for the admin
        default=False,
    )
    opinion_share = models.PositiveSmallIntegerField(
        "second opinions (%)",
        default=0,
        help_text="share of the labeled images that a second person labels, blind",  # not translated: admin
    )
    # Sharpness below which an image counts as blurred. Set by workers: cells are never as sharp as photos.
    blur_limit = models.FloatField(null=True, blank=True, editable=False)
    # Number of images compared for duplicates, and the newest image id: "1872:90412".
    duplicates_searched = models.CharField(
        max_length=42, blank=True, editable=False, db_column="copies_searched"
    )
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
            models.CheckConstraint(
                condition=models.Q(opinion_share__lte=100), name="opinion_share_is_a_percentage"
            ),
            models.UniqueConstraint(
                "team",
                Lower("name"),
                condition=models.Q(deleted_at=None),
                name="project_name_unique_in_team",
                violation_error_message=gettext_lazy("Your team already has a project of this name."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

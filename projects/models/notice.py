"""Notices to people: what happened to what is theirs, kept until it was mailed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy

from projects.models.project import Project
from projects.models.team import Team


class NoticeKind(models.TextChoices):
    TRAINING = "training", gettext_lazy("A training that I started has ended")
    ASSIGNED = "assigned", gettext_lazy("Somebody assigned images to me")
    REVIEW = "review", gettext_lazy("Two opinions differ in a project that I review")
    WEBHOOK = "webhook", gettext_lazy("A webhook of a team that I manage was turned off by itself")


class MutedNotice(models.Model):
    """A kind of notice of which a person wants no mail."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="muted_notices")
    kind = models.CharField(max_length=8, choices=NoticeKind.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "kind"], name="one_mute_per_user_and_kind")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.user}"


class MailNotice(models.Model):
    """Something to tell a person once: `source` names what happened, such as "training 17, attempt 1"."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    kind = models.CharField(max_length=8, choices=NoticeKind.choices)
    source = models.CharField(max_length=100)
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, blank=True, related_name="notices"
    )  # None: about a team, for its managers
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="notices")
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["user", "source"], name="one_notice_per_source"),
            models.CheckConstraint(
                condition=models.Q(project=None) ^ models.Q(team=None), name="notice_of_a_project_or_team"
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="unmailed_notices", condition=models.Q(mailed_at=None))
        ]

    def __str__(self) -> str:
        return f"{self.source} for {self.user}"

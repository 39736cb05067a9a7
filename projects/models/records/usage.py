"""What teams use in each month, which stays when the work is deleted, and the limits that operators set."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models

from exeml_site.lib.display import iso_month
from projects.models.team import Team


class UsageKind(models.TextChoices):
    TRAINING = "training"  # seconds
    SERVICE = "service"  # seconds in Running
    CALLS = "calls"
    IMAGES = "images"  # stored, the bin included: the most of the month
    STORAGE = "storage"  # bytes of images and models: the most of the month


class Usage(models.Model):
    """One piece of work in one month: a training, a service, the images of a person in a project.

    `source` names the work; measuring again overwrites the row, so a month is never counted twice.
    """

    month = models.DateField()  # its first day
    kind = models.CharField(max_length=8, choices=UsageKind.choices)
    source = models.CharField(max_length=80, editable=False)
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, related_name="usage")
    team_name = models.CharField(max_length=64)
    project_id = models.BigIntegerField("project's key")
    project_name = models.CharField("project", max_length=32)
    user_name = models.CharField("person", max_length=150, blank=True)
    flavor_name = models.CharField("flavor", max_length=64, blank=True)
    price_per_hour = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    quantity = models.FloatField(default=0)  # seconds, calls, images or bytes
    measured_at = models.DateTimeField()

    class Meta:
        ordering = ["-month", "team_name", "project_name", "kind"]
        verbose_name = verbose_name_plural = "usage"
        constraints = [
            models.UniqueConstraint(fields=["month", "kind", "source"], name="one_usage_of_a_month"),
        ]
        indexes = [models.Index(fields=["team", "month"], name="usage_of_a_team")]

    def __str__(self) -> str:
        return f"{iso_month(self.month)} {self.kind} of {self.project_name}"


class TeamQuota(models.Model):
    """The limits of a team; an empty one limits nothing. A team without a row has none."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, primary_key=True, related_name="quota")
    max_storage_gb = models.FloatField(
        "storage (GB)",
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="images, those in the bin included, and trained models",  # not translated: admin
    )
    max_training_hours = models.FloatField(
        "training hours a month",  # not translated: admin
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="a training counts its limit until it ends",  # not translated: admin
    )
    max_cost = models.DecimalField(
        "cost of trainings a month",  # not translated: admin
        max_digits=10,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="in the currency of the flavors’ prices",  # not translated: admin
    )
    max_concurrent_trainings = models.PositiveIntegerField(
        "trainings at a time",  # not translated: admin
        null=True,
        blank=True,
        help_text="those that wait included",  # not translated: admin
    )

    class Meta:
        verbose_name = "team with limits"  # not translated: admin
        verbose_name_plural = "teams with limits"  # not translated: admin

    def __str__(self) -> str:
        return str(self.team)

"""Teams, their members, and the role of each member."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy


class Role(models.IntegerChoices):
    """Permissions of a member. A higher role includes all lower ones, so roles compare with `<`."""

    VIEWER = 10, gettext_lazy("Viewer")
    LABELER = 20, gettext_lazy("Labeler")
    REVIEWER = 25, gettext_lazy("Reviewer")
    MANAGER = 30, gettext_lazy("Manager")


class Team(models.Model):
    name = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # Members without a second factor are led to set one up (projects.access).
    second_factor_required = models.BooleanField(default=False)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="teams")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class MembershipQuerySet(models.QuerySet["Membership"]):
    def people(self) -> MembershipQuerySet:
        """Without service accounts, which get neither mails nor images assigned to them."""
        return self.filter(user__service_account=None)


class Membership(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.PositiveSmallIntegerField(choices=Role.choices, default=Role.LABELER)
    joined_at = models.DateTimeField(auto_now_add=True)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering = ["team__name", "user__username"]
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="one_membership_per_team_and_user"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}: {self.get_role_display()}"

    def clean(self) -> None:
        """Forms of operators alone name user and team freely."""
        account = getattr(self.user, "service_account", None) if self.user_id else None
        if account is not None and account.team_id != self.team_id:
            raise ValidationError("A service account is a member of its team alone.")  # not translated: admin


class Invitation(models.Model):
    """A link with which one person joins a team, once. The token stands in the link alone, here its hash."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    role = models.PositiveSmallIntegerField(choices=Role.choices, default=Role.LABELER)
    # Where the link was sent by mail: whoever opens it reads the mail of this address.
    email = models.EmailField(blank=True)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    accepted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="role_of_an_invitation_is_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.email or self.pk} to {self.team}"

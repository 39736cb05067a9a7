"""Admin of how people sign in: factors, providers, sessions, invitations, failed attempts."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from projects import audit
from projects.admin.base import ReadOnlyAdmin
from projects.models import FailedAttempts, Invitation
from projects.sign_in import invitations, second_factor, sessions


class DeletableAdmin(ReadOnlyAdmin):
    """Rows of an account that an operator may delete, and nothing else."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.delete_{self.opts.model_name}")

    def record_deletion(self, obj: Any) -> None:
        """Append what the deletion means, beside the event that the row was deleted."""

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.record_deletion(obj)
        obj.delete()

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for obj in queryset:
            self.delete_model(request, obj)


@admin.register(FailedAttempts)
class FailedAttemptsAdmin(DeletableAdmin):
    """Counters of wrong passwords and tokens. Deleting a row lets people try again at once."""

    list_display = ["who", "kind", "count", "ends_at"]
    list_filter = ["kind"]
    search_fields = ["who"]

    def record_deletion(self, obj: FailedAttempts) -> None:
        audit.record(audit.Kind.UNLOCKED, target=obj.who, counter=obj.kind)


for model in (EmailAddress, SocialAccount, SocialApp, SocialToken, Authenticator, UserSession):
    admin.site.unregister(model)


@admin.register(Authenticator)
class AuthenticatorAdmin(DeletableAdmin):
    """Second factors. Deleting them lets somebody in who has lost phone, key and recovery codes."""

    fields = ["user", "type", "created_at", "last_used_at"]  # `data` has the secrets
    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type"]
    search_fields = ["user__username"]
    date_hierarchy = "created_at"
    list_select_related = ["user"]

    def record_deletion(self, obj: Authenticator) -> None:
        second_factor.record_factor(audit.Kind.FACTOR_REMOVED, obj)


@admin.register(SocialAccount)
class SocialAccountAdmin(DeletableAdmin):
    """Accounts that a provider signs in. Deleting one cuts the tie; the account stays."""

    fields = ["user", "provider", "uid", "date_joined", "last_login"]
    list_display = ["user", "provider", "uid", "last_login"]
    list_filter = ["provider"]
    search_fields = ["user__username", "uid"]
    list_select_related = ["user"]


@admin.register(UserSession)
class UserSessionAdmin(DeletableAdmin):
    """Sessions. Deleting one signs the person out there."""

    fields = ["user", "ip", "user_agent", "created_at", "last_seen_at"]
    list_display = ["user", "ip", "user_agent", "created_at"]
    search_fields = ["user__username", "ip"]
    date_hierarchy = "created_at"
    list_select_related = ["user"]

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: UserSession) -> None:
        sessions.end(obj.user, obj.pk)


@admin.register(Invitation)
class InvitationAdmin(DeletableAdmin):
    """Links with which people join a team."""

    list_display = ["team", "role", "email", "invited_by", "expires_at", "accepted_by"]
    list_filter = ["team"]
    search_fields = ["email", "team__name"]
    date_hierarchy = "created_at"
    list_select_related = ["team", "invited_by", "accepted_by"]

    def delete_model(self, request: HttpRequest, obj: Invitation) -> None:
        """One that was accepted is a row of the past alone."""
        if not invitations.withdraw(obj):
            obj.delete()

"""Admin of access tokens and service accounts: read-only, with actions that end them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from projects.admin.base import ReadOnlyAdmin
from projects.models import AccessToken, IdempotentCall, ServiceAccount
from projects.sign_in import access_tokens, service_accounts


class OfAnAccountAdmin(ReadOnlyAdmin):
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed only as part of deleting a user."""
        permission = f"projects.delete_{self.opts.model_name}"
        return "auth/user" in request.path and request.user.has_perm(permission)


class ValidFilter(admin.SimpleListFilter):
    title = "valid"
    parameter_name = "valid"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        valid = AccessToken.objects.valid()
        return queryset.filter(pk__in=valid) if self.value() == "yes" else queryset.exclude(pk__in=valid)


@admin.register(AccessToken)
class AccessTokenAdmin(OfAnAccountAdmin):
    """Tokens of people and of service accounts, without their hash."""

    list_display = [
        *("name", "user", "hint", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"),
    ]
    list_filter = [ValidFilter]
    search_fields = ["name", "hint", "user__username"]
    date_hierarchy = "created_at"
    list_select_related = ["user"]
    exclude = ["token_hash"]
    actions = ["revoke"]

    @admin.action(description="Revoke: programs that use them are refused at once", permissions=["operate"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[AccessToken]) -> None:
        names = [
            str(token)
            for token in tokens.select_related("user")
            if access_tokens.revoke(token, by=request.user)  # type: ignore[arg-type]
        ]
        if names:
            self.message_user(request, f"Revoked: {', '.join(names)}.", messages.SUCCESS)
        if unchanged := len(tokens) - len(names):
            self.message_user(request, f"{unchanged} had been revoked before.", messages.WARNING)


@admin.register(ServiceAccount)
class ServiceAccountAdmin(OfAnAccountAdmin):
    """Accounts of programs. Managers create them on the page of their team's members."""

    list_display = ["name", "team", "user", "created_by", "created_at", "deleted_at"]
    list_filter = ["team"]
    search_fields = ["name", "user__username", "team__name"]
    date_hierarchy = "created_at"
    list_select_related = ["team", "user", "created_by"]
    actions = ["end"]

    @admin.action(description="Delete: switch off and revoke all tokens", permissions=["operate"])
    def end(self, request: HttpRequest, accounts: QuerySet[ServiceAccount]) -> None:
        names = [
            str(account)
            for account in accounts.select_related("team", "user")
            if service_accounts.delete(account, by=request.user)  # type: ignore[arg-type]
        ]
        if names:
            self.message_user(request, f"Deleted: {', '.join(names)}.", messages.SUCCESS)
        if unchanged := len(accounts) - len(names):
            self.message_user(request, f"{unchanged} had been deleted before.", messages.WARNING)


@admin.register(IdempotentCall)
class IdempotentCallAdmin(OfAnAccountAdmin):
    """Calls of the API with an Idempotency-Key, of the last day. Their answers are not shown."""

    list_display = ["key", "user", "status", "created_at"]
    search_fields = ["key", "user__username"]
    date_hierarchy = "created_at"
    list_select_related = ["user"]
    fields = ["user", "key", "status", "created_at"]

"""Admin of users, teams and memberships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from projects import audit
from projects.admin.base import Admin, Inline, ReadOnlyAdmin
from projects.models import (
    ChosenLanguage,
    HiddenGuide,
    InitialPassword,
    Membership,
    Role,
    Team,
)
from projects.operators import lockouts
from projects.sign_in import access_tokens
from projects.sign_in.service_accounts import is_service_account
from projects.workspace import initial_password, members

if TYPE_CHECKING:
    MembershipFormSet = BaseInlineFormSet[Membership, Any, Any]
    BaseUserAdmin = UserAdmin[User]
    CreationForm = AdminUserCreationForm[User]
    PasswordForm = AdminPasswordChangeForm[User]
else:
    MembershipFormSet, BaseUserAdmin = BaseInlineFormSet, UserAdmin
    CreationForm, PasswordForm = AdminUserCreationForm, AdminPasswordChangeForm


class AuditedMembers(Admin):
    """Members that the page of a team or a person adds, changes or removes are events of their team."""

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        if formset.model is not Membership:
            return
        for member in formset.new_objects:
            role = Role(member.role).name.title()
            audit.record(audit.Kind.MEMBER_ADDED, team=member.team, target=member.user, role=role)
        for member, _ in formset.changed_objects:
            before = next(one.initial["role"] for one in formset.forms if one.instance == member)
            members.record_role(member, Role(before), Role(member.role))
        for member in formset.deleted_objects:
            audit.record(audit.Kind.MEMBER_REMOVED, team=member.team, target=member.user)


def keep_service_accounts(rows: list[Any]) -> None:
    """A service account without its team would be nobody's: it is deleted in the list of service accounts."""
    for form in rows:
        changed = getattr(form, "cleaned_data", {})
        if changed.get("DELETE") and is_service_account(form.instance.user):
            raise ValidationError(f"{form.instance.user}: {members.IS_SERVICE_ACCOUNT}")


class TeamKeepsAManager(MembershipFormSet):
    """Members on the page of a team: at least one stays Manager."""

    def clean(self) -> None:
        super().clean()
        remaining = [form.cleaned_data for form in self.forms if getattr(form, "cleaned_data", None)]
        remaining = [member for member in remaining if not member.get("DELETE")]
        if remaining and not any(
            member.get("role") == Role.MANAGER and not is_service_account(member["user"])
            for member in remaining
            if member.get("user")
        ):
            raise ValidationError("A team needs at least one Manager.")
        keep_service_accounts(self.forms)


class TeamsKeepTheirManager(MembershipFormSet):
    """Teams on the page of a user: no team loses its last Manager."""

    def clean(self) -> None:
        super().clean()
        for form in self.forms:
            changed = getattr(form, "cleaned_data", {})
            steps_down = changed.get("DELETE") or changed.get("role") != Role.MANAGER
            if changed and form.instance.pk and steps_down and members.is_last_manager(form.instance):
                raise ValidationError(f"{form.instance.team}: {members.LAST_MANAGER}")
        keep_service_accounts(self.forms)


class MembersInline(Inline):
    model = Membership
    formset = TeamKeepsAManager
    autocomplete_fields = ["user"]
    extra = 0


class TeamsInline(Inline):
    model = Membership
    formset = TeamsKeepTheirManager
    autocomplete_fields = ["team"]
    extra = 0


class NewUserForm(CreationForm):
    def validate_password_for_user(self, user: Any, **options: Any) -> None:
        """What is wrong with the password stands there, not where it is repeated."""
        super().validate_password_for_user(user, password_field_name="password1")


class OperatorsPasswordForm(PasswordForm):
    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        if access_tokens.unrevoked(user).exists():
            self.fields[access_tokens.REVOKE_FIELD] = forms.BooleanField(
                label="Also revoke the access tokens",
                help_text="Sessions end with the password. Access tokens stay valid unless they are revoked.",
                required=False,
            )

    def validate_password_for_user(self, user: Any, **options: Any) -> None:
        """What is wrong with the password stands there, not where it is repeated."""
        super().validate_password_for_user(user, password_field_name="password1")  # type: ignore[misc]


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(Group)
class AuditedGroupAdmin(Admin, GroupAdmin):
    """Django's page of groups, whose changes stand in the audit log."""


class LockedFilter(admin.SimpleListFilter):
    title = "locked out"
    parameter_name = "locked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(is_locked=True) if self.value() == "yes" else queryset


@admin.register(User)
class PersonAdmin(AuditedMembers, BaseUserAdmin):
    add_form = NewUserForm
    change_password_form = OperatorsPasswordForm
    change_user_password_template = "admin/operators/change_password.html"
    inlines = [TeamsInline]
    list_display = ["username", "email", "roles", "is_active", "signing_in", "is_staff", "last_login"]
    list_filter = [
        LockedFilter,
        "is_active",
        "is_staff",
        "is_superuser",
        "memberships__role",
        "memberships__team",
    ]
    date_hierarchy = "date_joined"
    actions = ["unlock", "revoke_tokens"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        people: QuerySet[User] = super().get_queryset(request).prefetch_related("memberships__team")
        return people.annotate(is_locked=lockouts.is_locked_out())

    def save_model(self, request: HttpRequest, user: User, form: Any, change: bool) -> None:
        super().save_model(request, user, form, change)
        if not change and user.has_usable_password():
            initial_password.require_change(user)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Service accounts get neither a password nor another team."""
        if obj is not None and is_service_account(obj):
            return False
        return super().has_change_permission(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """A password that an operator sets for somebody else has to be changed by that person."""
        response: HttpResponse = super().user_change_password(request, id, form_url)
        user = self.get_object(request, id)
        if response.status_code == 302 and user is not None and user != request.user:
            initial_password.require_change(user)
        if response.status_code == 302 and user is not None and access_tokens.REVOKE_FIELD in request.POST:
            revoked = access_tokens.revoke_all(user, by=request.user)  # type: ignore[arg-type]
            self.message_user(request, f"Access tokens revoked: {revoked}.", messages.SUCCESS)
        return response

    @admin.display(description="teams and roles")
    def roles(self, user: User) -> str:
        members = user.memberships.all()
        return ", ".join(f"{member.team}: {member.get_role_display()}" for member in members)

    @admin.display(description="signing in", ordering="is_locked")
    def signing_in(self, user: Any) -> str:
        return "locked out" if user.is_locked else ""

    @admin.action(description="Unlock: forget wrong passwords", permissions=["change"])
    def unlock(self, request: HttpRequest, people: QuerySet[User]) -> None:
        """From every address and browser. Limits of an address, which many people share, stay."""
        names = [user.username for user in people if lockouts.unlock(user)]
        if names:
            self.message_user(request, f"Can sign in again: {', '.join(names)}.", messages.SUCCESS)
        if unchanged := len(people) - len(names):
            self.message_user(request, f"{unchanged} had no wrong passwords.", messages.WARNING)

    @admin.action(description="Revoke all access tokens", permissions=["change"])
    def revoke_tokens(self, request: HttpRequest, people: QuerySet[User]) -> None:
        """Programs that use them are refused at once. Sessions go on: they end in the list of sessions."""
        by: Any = request.user
        revoked = sum(access_tokens.revoke_all(user, by=by) for user in people)
        self.message_user(request, f"Access tokens revoked: {revoked}.", messages.SUCCESS)


@admin.register(Team)
class TeamAdmin(AuditedMembers):
    inlines = [MembersInline]
    list_display = ["name", "members_counted", "projects_counted", "created_at"]
    search_fields = ["name"]
    ordering = ["name", "pk"]
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        living = Q(projects__deleted_at=None)
        teams: QuerySet[Team] = super().get_queryset(request)
        return teams.annotate(
            member_count=Count(
                "memberships", filter=Q(memberships__user__service_account=None), distinct=True
            ),
            project_count=Count("projects", filter=living, distinct=True),
        )

    def view_on_site(self, team: Team) -> str:
        return reverse("team_members", args=[team.pk])

    @admin.display(description="members", ordering="member_count")
    def members_counted(self, team: Any) -> int:
        return int(team.member_count)

    @admin.display(description="projects", ordering="project_count")
    def projects_counted(self, team: Any) -> int:
        return int(team.project_count)


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Read-only: memberships are changed on the page of the team or the user."""

    list_display = ["user", "team", "role", "joined_at"]
    list_filter = ["role", "team"]
    search_fields = ["user__username", "user__email", "team__name"]
    date_hierarchy = "joined_at"
    list_select_related = ["user", "team"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed only as part of deleting a user, which deletes the user's memberships."""
        return "auth/user" in request.path and request.user.has_perm("projects.delete_membership")


@admin.register(ChosenLanguage)
class ChosenLanguageAdmin(ReadOnlyAdmin):
    """Accounts whose pages do not follow the language of the browser."""

    list_display = ["user", "code"]
    search_fields = ["user__username", "code"]
    list_select_related = ["user"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed only as part of deleting a user."""
        return "auth/user" in request.path and request.user.has_perm("projects.delete_chosenlanguage")


@admin.register(InitialPassword)
class InitialPasswordAdmin(ReadOnlyAdmin):
    """Accounts that have to change their password when they sign in."""

    list_display = ["user"]
    search_fields = ["user__username"]
    list_select_related = ["user"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed only as part of deleting a user."""
        return "auth/user" in request.path and request.user.has_perm("projects.delete_initialpassword")


@admin.register(HiddenGuide)
class HiddenGuideAdmin(ReadOnlyAdmin):
    """Accounts that have closed the guide of the first steps."""

    list_display = ["user"]
    search_fields = ["user__username"]
    list_select_related = ["user"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allowed only as part of deleting a user."""
        return "auth/user" in request.path and request.user.has_perm("projects.delete_hiddenguide")

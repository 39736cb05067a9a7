"""Admin of users, teams and memberships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from projects import audit
from projects.admin.base import Admin, Inline, ReadOnlyAdmin
from projects.models import (
    ChosenLanguage,
    FailedAttempts,
    HiddenGuide,
    InitialPassword,
    Invitation,
    Membership,
    Role,
    Team,
)
from projects.operators import lockouts
from projects.sign_in import invitations, second_factor, sessions
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


class TeamKeepsAManager(MembershipFormSet):
    """Members on the page of a team: at least one stays Manager."""

    def clean(self) -> None:
        super().clean()
        remaining = [form.cleaned_data for form in self.forms if getattr(form, "cleaned_data", None)]
        remaining = [member for member in remaining if not member.get("DELETE")]
        if remaining and not any(member.get("role") == Role.MANAGER for member in remaining):
            raise ValidationError("A team needs at least one Manager.")


class TeamsKeepTheirManager(MembershipFormSet):
    """Teams on the page of a user: no team loses its last Manager."""

    def clean(self) -> None:
        super().clean()
        for form in self.forms:
            changed = getattr(form, "cleaned_data", {})
            steps_down = changed.get("DELETE") or changed.get("role") != Role.MANAGER
            if changed and form.instance.pk and steps_down and members.is_last_manager(form.instance):
                raise ValidationError(f"{form.instance.team}: {members.LAST_MANAGER}")


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
    actions = ["unlock"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        people: QuerySet[User] = super().get_queryset(request).prefetch_related("memberships__team")
        return people.annotate(is_locked=lockouts.is_locked_out())

    def save_model(self, request: HttpRequest, user: User, form: Any, change: bool) -> None:
        super().save_model(request, user, form, change)
        if not change and user.has_usable_password():
            initial_password.require_change(user)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """A password that an operator sets for somebody else has to be changed by that person."""
        response: HttpResponse = super().user_change_password(request, id, form_url)
        user = self.get_object(request, id)
        if response.status_code == 302 and user is not None and user != request.user:
            initial_password.require_change(user)
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
            member_count=Count("memberships", distinct=True),
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

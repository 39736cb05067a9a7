"""Access to pages: one decorator per view. `tests/architecture/test_access.py` fails for a view without one.

People outside the team get 404 (which does not reveal what exists), members with too low a role 403, and
visitors the sign-in page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django_htmx.middleware import HtmxDetails

from exeml_site.lib.http import Access, View, ask_to_sign_in, redirect_to, wants_fragment
from projects.models import Membership, Project, Role, Team

SECOND_FACTOR_KEY = "second-factor"  # in a session: whose second factor it has seen


class PageRequest(HttpRequest):
    """A request that passed an access decorator: signed in, with the membership that grants access."""

    user: User
    htmx: HtmxDetails
    membership: Membership


def team_page(role: Role) -> Callable[[View], View]:
    """Decorator: admits members of the team `team_id` with at least `role`; passes `team` to the view."""

    def decorator(view: View) -> View:
        @wraps(view)
        def guarded(request: PageRequest, team_id: int, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return ask_to_sign_in(request)
            team = get_object_or_404(Team, pk=team_id, memberships__user=request.user)
            _admit(request, team.pk, role)
            return lead_to_second_factor(request, team) or view(request, team, **kwargs)

        guarded.access = Access("team", role)  # type: ignore[attr-defined]
        return guarded

    return decorator


def project_page(role: Role) -> Callable[[View], View]:
    """Decorator: admits members of the project's team with at least `role`; passes `project` to the view."""

    def decorator(view: View) -> View:
        @wraps(view)
        def guarded(request: PageRequest, project_id: int, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return ask_to_sign_in(request)
            project = get_object_or_404(
                Project.objects.visible_to(request.user).select_related("team"), pk=project_id
            )
            _admit(request, project.team_id, role)
            return lead_to_second_factor(request, project.team) or view(request, project, **kwargs)

        guarded.access = Access("project", role)  # type: ignore[attr-defined]
        return guarded

    return decorator


def operator_page(permission: str) -> Callable[[View], View]:
    """Decorator: admits operators who have `permission`, as the admin does."""

    def decorator(view: View) -> View:
        @wraps(view)
        def guarded(request: PageRequest, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return ask_to_sign_in(request)
            if not (request.user.is_staff and request.user.has_perm(permission)):
                raise PermissionDenied
            return view(request, **kwargs)

        guarded.access = Access("operator")  # type: ignore[attr-defined]
        return guarded

    return decorator


def _admit(request: PageRequest, team_id: int, role: Role) -> None:
    """Set `request.membership`. Raises PermissionDenied (403) below `role`."""
    request.membership = Membership.objects.select_related("team").get(team_id=team_id, user=request.user)
    if request.membership.role < role:
        raise PermissionDenied


def has_proven_factor(request: HttpRequest) -> bool:
    """Whether this session has seen a second factor of whoever is signed in."""
    return bool(request.session.get(SECOND_FACTOR_KEY) == request.user.pk)


def open_projects(request: PageRequest) -> QuerySet[Project]:
    """Projects of the person's teams, but those whose team wants a factor that this session has not seen."""
    projects = Project.objects.visible_to(request.user)
    return projects if has_proven_factor(request) else projects.exclude(team__second_factor_required=True)


def lead_to_second_factor(request: PageRequest, team: Team) -> HttpResponseBase | None:
    """None, unless the team requires a second factor and this session has not seen one of the person."""
    if not team.second_factor_required or has_proven_factor(request):
        return None
    return lead_to_factor(request)


def lead_to_factor(request: HttpRequest) -> HttpResponseBase:
    """Redirect to the second factor, which returns to this page."""
    is_page = request.method in ("GET", "HEAD") and not wants_fragment(request)
    back = request.get_full_path() if is_page else reverse("project_list")
    return redirect_to(request, redirect_to_login(back, reverse("second_factor_required")).url)

"""Access to pages: one decorator per view. `tests/architecture/test_access.py` fails for a view without one.

People outside the team get 404 (which does not reveal what exists), members with too low a role 403, and
visitors the sign-in page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django_htmx.middleware import HtmxDetails

from exeml_site.lib.http import Access, View, ask_to_sign_in
from projects.models import Membership, Project, Role, Team


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
            return view(request, team, **kwargs)

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
            return view(request, project, **kwargs)

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

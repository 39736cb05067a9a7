"""Who may see a page: one mark per view. `tests/test_access.py` fails on a view that carries none.

A stranger gets 404 (nobody learns what exists), a member of too low a role 403, a visitor the sign-in page.
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
    """A request that passed an access mark: signed in, and with the membership that opened the door."""

    user: User
    htmx: HtmxDetails
    membership: Membership


def team_page(role: Role) -> Callable[[View], View]:
    """Members of the team in the URL (`team_id`) with at least `role`; the view is handed `team`."""

    def mark(view: View) -> View:
        @wraps(view)
        def guarded(request: PageRequest, team_id: int, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return ask_to_sign_in(request)
            team = get_object_or_404(Team, pk=team_id, memberships__user=request.user)
            _admit(request, team.pk, role)
            return view(request, team, **kwargs)

        guarded.access = Access("team", role)  # type: ignore[attr-defined]
        return guarded

    return mark


def project_page(role: Role) -> Callable[[View], View]:
    """Members of the project's team with at least `role`; the view is handed `project` for `project_id`."""

    def mark(view: View) -> View:
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

    return mark


def _admit(request: PageRequest, team_id: int, role: Role) -> None:
    """Keep the membership on the request, or refuse: 403 below `role`."""
    request.membership = Membership.objects.select_related("team").get(team_id=team_id, user=request.user)
    if request.membership.role < role:
        raise PermissionDenied

"""Who may see a page: one mark per view. `tests/test_access.py` fails on a view that carries none.

A stranger gets 404 (nobody learns what exists), a member of too low a role 403, a visitor the sign-in page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404

from exeml_site.lib.http import PageRequest, go, wants_fragment
from projects.models import Membership, Project, Role, Team

View = Callable[..., HttpResponseBase]


@dataclass(frozen=True)
class Access:
    """The mark that a view carries."""

    kind: Literal["public", "signed-in", "team", "project"]
    role: Role | None = None


def public(view: View) -> View:
    """Anybody, also without an account."""
    view.access = Access("public")  # type: ignore[attr-defined]
    return view


def signed_in(view: View) -> View:
    """Anybody with an account."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _ask_to_sign_in(request)
        return view(request, *args, **kwargs)

    guarded.access = Access("signed-in")  # type: ignore[attr-defined]
    return guarded


def team_page(role: Role) -> Callable[[View], View]:
    """Members of the team in the URL (`team_id`) with at least `role`; the view is handed `team`."""

    def mark(view: View) -> View:
        @wraps(view)
        def guarded(request: PageRequest, team_id: int, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _ask_to_sign_in(request)
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
                return _ask_to_sign_in(request)
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


def _ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page and back again; an htmx swap is sent there as a whole page."""
    if wants_fragment(request):
        back = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
        return go(request, redirect_to_login(back).url)
    return redirect_to_login(request.get_full_path())

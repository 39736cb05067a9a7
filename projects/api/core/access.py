"""Access of programs: the token, its scope, and the role of its owner. One decorator for each operation.

All of it is checked before the body of a call is read. As for pages, people outside the team get 404, which
does not reveal what exists. `tests/training/api/test_access.py` fails for an operation without a decorator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.operation import Operation
from ninja.security import HttpBearer

from exeml_site.lib.http import Access
from projects.api.core.call_limit import count_call
from projects.api.core.problems import Problem, forbidden, not_found
from projects.models import AccessToken, Membership, Project, Role, Scope, Team
from projects.models.project import ProjectQuerySet
from projects.sign_in import access_tokens
from projects.workspace.login_throttle import count_wrong_token

HINT = "Send the header “Authorization: Bearer <token>” with an access token of your account’s page."
View = Callable[..., Any]
Opened = TypeVar("Opened", Team, Project)


class ApiRequest(HttpRequest):
    """A request that passed an access decorator; `membership` where the operation belongs to a team."""

    user: User
    auth: AccessToken
    membership: Membership
    opened: Team | Project


class BearerToken(HttpBearer):
    """The header `Authorization: Bearer <token>`. A cookie of the browser admits nobody."""

    openapi_bearerFormat = "exeml_…"

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.access = access

    def authenticate(self, request: ApiRequest, token: str) -> AccessToken:  # type: ignore[override]
        found = access_tokens.find(token)
        if found is None:
            raise _wrong_token(request)
        if wait_s := count_call(found):
            raise _too_many_calls(wait_s)
        access_tokens.record_use(found)
        request.auth = found
        request.user = request._cached_user = found.user  # type: ignore[attr-defined]  # for the log
        _open(request, self.access)
        return found


def not_signed_in(detail: str = HINT) -> Problem:
    headers = {"WWW-Authenticate": 'Bearer realm="exeml"'}
    return Problem(401, "not-signed-in", "No valid token", detail, headers=headers)


def _wrong_token(request: HttpRequest) -> Problem:
    attempt = count_wrong_token(request)
    if attempt.is_refused:
        detail = "Too many calls with a wrong token came from your address."
        return _too_many_requests(attempt.wait_s, "Too many wrong tokens", detail)
    return not_signed_in("The token is wrong, revoked or expired.")


def _too_many_calls(wait_s: int) -> Problem:
    detail = f"A token may make {settings.EXEML_API_CALLS_PER_MINUTE:,} calls a minute."
    return _too_many_requests(wait_s, "Too many calls", detail)


def _too_many_requests(wait_s: int, title: str, detail: str) -> Problem:
    return Problem(429, "too-many-requests", title, detail, headers={"Retry-After": str(wait_s)})


def _open(request: ApiRequest, access: Access) -> None:
    """Set `opened` and `membership` of the request. Raises Problem where the token does not suffice."""
    match = request.resolver_match
    keys = match.kwargs if match else {}
    if access.kind == "team":
        team = Team.objects.filter(pk=keys["team_id"], memberships__user=request.user).first()
        request.opened = _found(team)
        admit(request, _found(team), access)
    elif access.kind == "project":
        visible = Project.objects.visible_to(request.user).select_related("team", "created_by")
        project = _found(visible.filter(pk=keys["project_id"]).first())
        request.opened = project
        admit(request, project.team, access)
    else:
        _check_scope(request, access.scope)


def _found(thing: Opened | None) -> Opened:
    if thing is None:
        raise not_found()
    return thing


def admit(request: ApiRequest, team: Team, access: Access) -> None:
    """Set `membership` of the request. Raises Problem (403) for a lower role, or too weak a token."""
    request.membership = Membership.objects.select_related("team").get(team=team, user=request.user)
    _check_scope(request, access.scope)
    if team.second_factor_required and not request.auth.has_second_factor:
        detail = "The team requires a second factor. Sign in with it, then create the token."
        raise forbidden(detail, "second-factor-missing")
    role = Role(access.role or Role.VIEWER)
    if request.membership.role < role:
        raise forbidden(f"Your role must be {role.label} or higher.", "role-too-low")


def open_projects(request: ApiRequest) -> ProjectQuerySet:
    """Projects of the owner's teams, but those whose team wants a factor that the token was made without."""
    projects = Project.objects.visible_to(request.user)
    return projects if request.auth.has_second_factor else projects.exclude(team__second_factor_required=True)


def _check_scope(request: ApiRequest, scope: str) -> None:
    if not request.auth.allows(scope):
        raise forbidden(f"The token lacks the scope “{scope}”.", "scope-missing")


# --- Decorators ---


def account_call(scope: Scope) -> Callable[[View], View]:
    """Decorator: admits every valid token with the scope."""
    return _call(Access("signed-in", None, scope))


def team_call(role: Role, scope: Scope) -> Callable[[View], View]:
    """Decorator: admits members of the team `team_id` with at least `role`; passes `team` on."""
    return _call(Access("team", role, scope), "team")


def project_call(role: Role, scope: Scope) -> Callable[[View], View]:
    """Decorator: admits members of the project's team with at least `role`; passes `project` on."""
    return _call(Access("project", role, scope), "project")


def _call(access: Access, opened: str = "") -> Callable[[View], View]:
    def decorator(view: View) -> View:
        @wraps(view)
        def guarded(request: ApiRequest, **kwargs: Any) -> Any:
            if not opened:
                return view(request, **kwargs)
            del kwargs[f"{opened}_id"]
            return view(request, request.opened, **kwargs)

        # django-ninja reads from the signature what a call must bring: the key instead of the object.
        signature = inspect.signature(view, eval_str=True)
        parameters = [
            each if each.name != opened else each.replace(name=f"{opened}_id", annotation=int)
            for each in signature.parameters.values()
        ]
        guarded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        guarded.access = access  # type: ignore[attr-defined]
        guarded._ninja_contribute_to_operation = [_gate(access)]  # type: ignore[attr-defined]
        return guarded

    return decorator


def _gate(access: Access) -> Callable[[Operation], None]:
    def contribute(operation: Operation) -> None:
        operation.auth_param = [BearerToken(access)]
        operation._set_auth(operation.auth_param)
        operation.description = f"{operation.description}\n\n{_needs(access)}".strip()

    return contribute


def _needs(access: Access) -> str:
    role = f" and the role {Role(access.role).label} or a higher one" if access.role else ""
    return f"Needs the scope `{access.scope}`{role}."

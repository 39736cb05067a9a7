"""What the frame of every page shows: the user's teams and the one they are in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from projects.models import Membership, Role, Team

TEAM_KEY = "team"


@dataclass(frozen=True)
class Frame:
    team: Team | None = None
    role: int = 0
    user: User | AnonymousUser | None = None

    @cached_property
    def teams(self) -> list[Team]:
        """The user's teams; a fragment does not show them and does not ask."""
        return [one.team for one in _memberships(self.user)]

    @property
    def can_label(self) -> bool:
        return self.role >= Role.LABELER

    @property
    def can_manage(self) -> bool:
        return self.role >= Role.MANAGER


def frame(request: HttpRequest) -> dict[str, object]:
    """`frame` in every template: `teams`, `team`, and what the user may do in it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or request.path.startswith("/admin/"):
        return {"frame": Frame()}
    return {"frame": current_frame(request)}


def current_frame(request: HttpRequest) -> Frame:
    """The team of the page (its access mark), else the one chosen last, else the first."""
    if (chosen := getattr(request, "membership", None)) is None:
        memberships, wanted = _memberships(request.user), request.session.get(TEAM_KEY)
        chosen = next((one for one in memberships if one.team_id == wanted), next(iter(memberships), None))
    return Frame(chosen.team, chosen.role, request.user) if chosen else Frame()


def _memberships(user: User | AnonymousUser | None) -> list[Membership]:
    return list(Membership.objects.filter(user=user.pk if user else None).select_related("team"))

"""Context processor for the frame of every page: the user's teams and the current one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest

from projects.models import HiddenGuide, Membership, Role, Team

TEAM_KEY = "team"


@dataclass(frozen=True)
class Frame:
    team: Team | None = None
    role: int = 0
    user: User | AnonymousUser | None = None

    @cached_property
    def teams(self) -> list[Team]:
        """The user's teams. Lazy, since fragments do not show them."""
        return [membership.team for membership in _memberships(self.user)]

    @cached_property
    def is_guide_shown(self) -> bool:
        """Whether the user has not closed the guide of the first steps."""
        return self.user is not None and not HiddenGuide.objects.filter(user=self.user.pk).exists()

    @property
    def can_label(self) -> bool:
        return self.role >= Role.LABELER

    @property
    def can_manage(self) -> bool:
        return self.role >= Role.MANAGER


def frame(request: HttpRequest) -> dict[str, object]:
    """The variable `frame` of every template: `teams`, `team`, and the user's permissions in it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or request.path_info.startswith("/admin/"):
        return {"frame": Frame()}
    return {"frame": current_frame(request)}


def current_frame(request: HttpRequest) -> Frame:
    """The team of the page's project, or else the team chosen last, or else the first team."""
    if (membership := getattr(request, "membership", None)) is None:
        memberships, team_id = _memberships(request.user), request.session.get(TEAM_KEY)
        membership = next(
            (candidate for candidate in memberships if candidate.team_id == team_id),
            next(iter(memberships), None),
        )
    return Frame(membership.team, membership.role, request.user) if membership else Frame()


def _memberships(user: User | AnonymousUser | None) -> list[Membership]:
    return list(Membership.objects.filter(user=user.pk if user else None).select_related("team"))

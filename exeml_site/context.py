"""What the frame of every page shows: the user's teams and the one they are in."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.http import HttpRequest

from projects.models import Membership, Role, Team

TEAM_KEY = "team"


@dataclass(frozen=True)
class Frame:
    teams: list[Team] = field(default_factory=list)
    team: Team | None = None
    role: int = 0

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
    memberships = list(Membership.objects.filter(user=request.user.pk).select_related("team"))
    if not memberships:
        return Frame()
    marked = getattr(request, "membership", None)
    wanted = marked.team_id if marked else request.session.get(TEAM_KEY)
    chosen = next((one for one in memberships if one.team_id == wanted), memberships[0])
    return Frame([one.team for one in memberships], chosen.team, chosen.role)

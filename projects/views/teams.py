"""The members of a team and what each may do."""

from __future__ import annotations

from django.http import HttpResponse

from exeml_site.pages import PageRequest, page
from projects.access import team_page
from projects.models import Role, Team


@team_page(Role.VIEWER)
def team_members(request: PageRequest, team: Team) -> HttpResponse:
    return page(request, "projects/team_members.html", {"team": team})

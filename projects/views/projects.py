"""The ExeML page: a team's projects; creating, describing and deleting them."""

from __future__ import annotations

from django.http import HttpResponse

from exeml_site.context import current_frame
from exeml_site.pages import PageRequest, page
from projects.access import project_page, signed_in
from projects.models import Project, Role


@signed_in
def project_list(request: PageRequest) -> HttpResponse:
    team = current_frame(request).team
    projects = Project.objects.visible_to(request.user).filter(team=team)
    return page(request, "projects/project_list.html", {"projects": projects})


@signed_in
def create_project(request: PageRequest) -> HttpResponse:
    return page(request, "projects/project_form.html")


@project_page(Role.MANAGER)
def edit_project(request: PageRequest, project: Project) -> HttpResponse:
    return page(request, "projects/project_form.html", {"project": project})


@project_page(Role.MANAGER)
def delete_project(request: PageRequest, project: Project) -> HttpResponse:
    return page(request, "projects/project_delete.html", {"project": project})

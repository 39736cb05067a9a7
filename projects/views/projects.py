"""The project list; create, edit and delete a project."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_safe

from exeml_site.lib.http import page, redirect_to, signed_in
from projects.access import PageRequest, lead_to_second_factor, project_page
from projects.context import TEAM_KEY, current_frame
from projects.forms.projects import CreateProjectForm, DeleteProjectForm, EditProjectForm
from projects.models import Membership, Project, Role
from projects.workspace import lifecycle
from projects.workspace import project_list as project_rows


@signed_in
@require_safe
def project_list(request: PageRequest) -> HttpResponseBase:
    membership = _membership(request)
    if membership is None:
        return page(request, "projects/no_team.html")
    if led := lead_to_second_factor(request, membership.team):
        return led
    is_poll = request.htmx.trigger == "training-poll"
    return page(
        request,
        "projects/project_list.html",
        _list_context(request, membership),
        fragment="projects/_training_refresh.html" if is_poll else "projects/_project_list.html",
    )


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def create_project(request: PageRequest) -> HttpResponseBase:
    membership = _membership(request)
    if membership is None or membership.role < Role.MANAGER:
        raise PermissionDenied
    team = membership.team
    if led := lead_to_second_factor(request, team):
        return led
    form = CreateProjectForm(request.POST if request.method == "POST" else None, team=team)
    if form.is_valid():
        try:
            project = lifecycle.create_project(team, **form.cleaned_data, by=request.user)
        except lifecycle.ProjectRefused as refused:
            form.add_error("name" if isinstance(refused, lifecycle.NameTaken) else None, str(refused))
        else:
            is_from_file = bool(request.POST.get("from_file"))
            images = gettext("Project %(project)s created. Add the first images.")
            file = gettext("Project %(project)s created. Import its project file.")
            messages.success(request, (file if is_from_file else images) % {"project": project})
            page_name = "transfers" if is_from_file else "label_data"
            return redirect_to(request, reverse(page_name, args=[project.pk]))
    context = {"form": form, "team": team, "full": lifecycle.limit_text() if lifecycle.is_full(team) else ""}
    return page(request, "projects/project_create.html", context, status=422 if form.is_bound else 200)


@project_page(Role.MANAGER)
@require_http_methods(["GET", "HEAD", "POST"])
def edit_project(request: PageRequest, project: Project) -> HttpResponse:
    form = EditProjectForm(
        request.POST if request.method == "POST" else None, initial={"description": project.description}
    )
    if form.is_valid():
        lifecycle.update_description(project, form.cleaned_data["description"])
        sentence = gettext("Description of %(project)s saved.")
        messages.success(request, sentence % {"project": project})
        return redirect_to(request, _list_url(project))
    context = {"form": form, "project": project}
    return page(request, "projects/project_edit.html", context, status=422 if form.is_bound else 200)


@project_page(Role.MANAGER)
@require_http_methods(["GET", "HEAD", "POST"])
def delete_project(request: PageRequest, project: Project) -> HttpResponse:
    form = DeleteProjectForm(request.POST if request.method == "POST" else None, project=project)
    status = 422 if form.is_bound else 200
    if form.is_valid():
        try:
            lifecycle.delete_project(project, by=request.user)
        except lifecycle.ProjectRefused:
            status = 409  # the page lists what runs
        else:
            sentence = gettext("Project %(project)s deleted. An operator can restore it.")
            messages.success(request, sentence % {"project": project})
            return redirect_to(request, _list_url(project))
    context = {
        "form": form,
        "project": project,
        "row": project_rows.read_rows([project])[0],
        "running": lifecycle.running_work(project),
    }
    return page(request, "projects/project_delete.html", context, status=status)


def _membership(request: PageRequest) -> Membership | None:
    """The membership in the team of `?team=`, which becomes the current team, else in the current team."""
    team_id = request.GET.get("team", "")
    if team_id:
        request.membership = _membership_in(team_id, request.user)
        if request.session.get(TEAM_KEY) != request.membership.team_id:
            request.session[TEAM_KEY] = request.membership.team_id
        return request.membership
    frame = current_frame(request)
    if frame.team is None:
        return None
    request.membership = Membership(team=frame.team, user=request.user, role=frame.role)
    return request.membership


def _membership_in(team_id: str, user: User) -> Membership:
    for membership in Membership.objects.filter(user=user).select_related("team"):
        if str(membership.team_id) == team_id:
            return membership
    raise Http404


def _list_context(request: PageRequest, membership: Membership) -> dict[str, Any]:
    team, text = membership.team, request.GET.get("q", "").strip()
    sort = request.GET.get("sort", "")
    sort = sort if sort in project_rows.SORTS else project_rows.NEWEST_FIRST
    alive = team.projects.alive()
    matching = project_rows.sort_projects(
        project_rows.search_projects(alive, text).select_related("created_by"), sort
    )
    projects_page = Paginator(matching, project_rows.PAGE_SIZE).get_page(request.GET.get("page"))
    return {
        "team": team,
        "can_manage": membership.role >= Role.MANAGER,
        "total": alive.count(),
        "full": lifecycle.limit_text() if lifecycle.is_full(team) else "",
        "q": text,
        "sort": sort,
        "columns": [
            (column, column.aria_sort(sort), column.next_sort(sort)) for column in project_rows.COLUMNS
        ],
        "projects_page": projects_page,
        "rows": project_rows.read_rows(list(projects_page)),
    }


def _list_url(project: Project) -> str:
    return f"{reverse('project_list')}?team={project.team_id}"

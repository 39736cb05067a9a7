"""Projects of the token's owner: list, create, describe, delete."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpResponseBase
from ninja import Field, Query, Router, Schema

from exeml_site.lib.http import Access
from projects.api.core import problems
from projects.api.core.access import ApiRequest, account_call, admit, open_projects, project_call
from projects.api.core.body import Body
from projects.api.core.downloads import file_answer
from projects.api.core.idempotency import once
from projects.api.core.pages import Key, PageParams, page_of
from projects.forms.projects import CreateProjectForm, EditProjectForm
from projects.models import Project, Role, Scope, Team
from projects.transfers.responses import PROJECT_FILE_TYPE, project_file_response
from projects.workspace import lifecycle, project_list

router = Router(tags=["Projects"])


class ProjectOut(Schema):
    id: int
    name: str
    description: str
    is_multi_label: bool
    team_id: int
    created_at: datetime
    created_by: str | None
    image_count: int
    labeled_count: int
    label_count: int

    @classmethod
    def of(cls, row: project_list.ProjectRow) -> ProjectOut:
        project = row.project
        return cls(
            id=project.pk,
            name=project.name,
            description=project.description,
            is_multi_label=project.is_multi_label,
            team_id=project.team_id,
            created_at=project.created_at,
            created_by=project.created_by.get_username() if project.created_by else None,
            image_count=row.images,
            labeled_count=row.labeled,
            label_count=row.labels,
        )


class ProjectPage(Schema):
    items: list[ProjectOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class ProjectCreation(Body):
    team_id: Key
    name: str
    description: str = ""
    is_multi_label: bool = False


class ProjectChange(Body):
    description: str


@router.get("/projects", response=ProjectPage)
@account_call(Scope.READ)
def list_projects(
    request: ApiRequest, params: Query[PageParams], team_id: Key | None = None, search: str = ""
) -> ProjectPage:
    """The projects of all your teams, or of one, the newest first. `search`: words of name or description."""
    projects = open_projects(request)
    if team_id is not None:
        projects = projects.filter(team_id=team_id)
    matching = project_list.search_projects(projects, search).select_related("created_by")
    rows, cursor = page_of(matching, params)
    return ProjectPage(items=[ProjectOut.of(row) for row in project_list.read_rows(rows)], next=cursor)


@router.post("/projects", response=ProjectOut)
@account_call(Scope.ADMIN)
@once
def create_project(request: ApiRequest, body: ProjectCreation) -> ProjectOut:
    """Create a project in a team that you manage."""
    team = Team.objects.filter(pk=body.team_id, memberships__user=request.user).first()
    if team is None:
        raise problems.invalid_field("team_id", "You are in no such team.")
    admit(request, team, Access("team", Role.MANAGER, Scope.ADMIN))
    data = {"name": body.name, "description": body.description}
    form = CreateProjectForm(data | {"is_multi_label": "yes" if body.is_multi_label else "no"}, team=team)
    if not form.is_valid():
        raise problems.of_form(form)
    try:
        project = lifecycle.create_project(team, **form.cleaned_data, by=request.user)
    except lifecycle.NameTaken as taken:
        raise problems.invalid_field("name", taken) from taken
    return _project_out(project)


@router.get("/projects/{int:project_id}", response=ProjectOut)
@project_call(Role.VIEWER, Scope.READ)
def show_project(request: ApiRequest, project: Project) -> ProjectOut:
    """One project, with the numbers of its images and labels."""
    return _project_out(project)


@router.patch("/projects/{int:project_id}", response=ProjectOut)
@project_call(Role.MANAGER, Scope.ADMIN)
def change_project(request: ApiRequest, project: Project, body: ProjectChange) -> ProjectOut:
    """Change the description. Name and kind of labels can never be changed."""
    form = EditProjectForm({"description": body.description})
    if not form.is_valid():
        raise problems.of_form(form)
    lifecycle.update_description(project, form.cleaned_data["description"])
    project.refresh_from_db()
    return _project_out(project)


@router.get("/projects/{int:project_id}/file", openapi_extra=file_answer(PROJECT_FILE_TYPE))
@project_call(Role.MANAGER, Scope.READ)
def download_project_file(request: ApiRequest, project: Project) -> HttpResponseBase:
    """The whole project as one file: history, models, names and e-mail addresses of its people, too.

    An import of the file into an empty project makes the same project.
    """
    return project_file_response(project)


@router.delete("/projects/{int:project_id}", response={204: None})
@project_call(Role.MANAGER, Scope.ADMIN)
def delete_project(request: ApiRequest, project: Project) -> None:
    """Delete a project in which nothing runs. An operator can restore it."""
    lifecycle.delete_project(project, by=request.user)


def _project_out(project: Project) -> ProjectOut:
    return ProjectOut.of(project_list.read_rows([project])[0])

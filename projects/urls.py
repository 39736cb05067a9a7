"""Addresses of accounts, teams, projects, images and labels."""

from django.urls import URLPattern, URLResolver, path

from projects.views import accounts, projects, teams

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-out/", accounts.sign_out, name="sign_out"),
    path("password/", accounts.change_password, name="change_password"),
    path("teams/<int:team_id>/members/", teams.team_members, name="team_members"),
    path("projects/", projects.project_list, name="project_list"),
    path("projects/new/", projects.create_project, name="create_project"),
    path("projects/<int:project_id>/edit/", projects.edit_project, name="edit_project"),
    path("projects/<int:project_id>/delete/", projects.delete_project, name="delete_project"),
]

"""Addresses of accounts, teams, projects, images and labels."""

from django.urls import URLPattern, URLResolver, path

from projects.views import accounts, projects, teams

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-out/", accounts.sign_out, name="sign_out"),
    path("password/", accounts.change_password, name="change_password"),
    path("teams/<int:team_id>/members/", teams.team_members, name="team_members"),
    path("teams/<int:team_id>/members/add/", teams.add_member, name="add_member"),
    path("teams/<int:team_id>/members/<int:user_id>/role/", teams.change_member, name="change_member"),
    path("teams/<int:team_id>/members/<int:user_id>/remove/", teams.remove_member, name="remove_member"),
    path("projects/", projects.project_list, name="project_list"),
    path("projects/new/", projects.create_project, name="create_project"),
    path("projects/<int:project_id>/edit/", projects.edit_project, name="edit_project"),
    path("projects/<int:project_id>/delete/", projects.delete_project, name="delete_project"),
]

"""Addresses of accounts, teams, projects, images and labels."""

from django.urls import URLPattern, URLResolver, path

from projects.views import (
    accounts,
    data_check,
    history,
    images,
    label_data,
    labels,
    projects,
    suggestions,
    teams,
)

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
    path("projects/<int:project_id>/label-data/", label_data.label_data, name="label_data"),
    path("projects/<int:project_id>/label-data/grid/", label_data.image_grid, name="image_grid"),
    path("projects/<int:project_id>/label-data/label/", label_data.label_images, name="label_images"),
    path(
        "projects/<int:project_id>/label-data/confirm/",
        suggestions.confirm_suggestions,
        name="confirm_suggestions",
    ),
    path(
        "projects/<int:project_id>/label-data/refuse/",
        suggestions.refuse_suggestions,
        name="refuse_suggestions",
    ),
    path("projects/<int:project_id>/label-data/undo/", label_data.undo_labeling, name="undo_labeling"),
    path("projects/<int:project_id>/label-data/redo/", history.redo_labeling, name="redo_labeling"),
    path("projects/<int:project_id>/check/", data_check.data_check, name="data_check"),
    path("projects/<int:project_id>/history/", history.history, name="history"),
    path("projects/<int:project_id>/history/<int:event_id>/undo/", history.undo_event, name="undo_event"),
    path(
        "projects/<int:project_id>/images/<int:image_id>/history/",
        history.image_history,
        name="image_history",
    ),
    path("projects/<int:project_id>/images/upload/", images.upload_images, name="upload_images"),
    path("projects/<int:project_id>/images/delete/", images.delete_images, name="delete_images"),
    path("projects/<int:project_id>/images/restore/", images.restore_images, name="restore_images"),
    path("projects/<int:project_id>/images/<int:image_id>/file/", images.image_file, name="image_file"),
    path(
        "projects/<int:project_id>/thumbnails/<str:sha256>.webp",
        images.image_thumbnail,
        name="image_thumbnail",
    ),
    path("projects/<int:project_id>/labels/", labels.label_list, name="label_list"),
    path("projects/<int:project_id>/labels/new/", labels.create_label, name="create_label"),
    path("projects/<int:project_id>/labels/<int:label_id>/rename/", labels.rename_label, name="rename_label"),
    path("projects/<int:project_id>/labels/<int:label_id>/edit/", labels.edit_label, name="edit_label"),
    path("projects/<int:project_id>/labels/<int:label_id>/move/", labels.move_label, name="move_label"),
    path("projects/<int:project_id>/labels/<int:label_id>/merge/", labels.merge_label, name="merge_label"),
    path("projects/<int:project_id>/labels/<int:label_id>/delete/", labels.delete_label, name="delete_label"),
]

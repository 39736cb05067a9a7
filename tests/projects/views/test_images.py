"""Uploading, serving, deleting and restoring images over HTTP."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from projects.images import bin
from projects.labels import actions
from projects.models import Image, Project
from tests.factories import make_image, make_project, make_user, picture_bytes
from tests.pages import html_of

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
JSON = {"Accept": "application/json"}


def upload(client: Client, project: Project, *files: SimpleUploadedFile, **headers: str) -> object:
    return client.post(
        reverse("upload_images", args=[project.pk]), {"files": list(files)}, headers=headers or JSON
    )


def picture(name: str, seed: int = 1) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture_bytes(seed))


def test_every_file_of_an_upload_has_its_outcome(bob: Client) -> None:
    project = make_project(labels=0)
    response = upload(
        bob, project, picture("a.png"), picture("b.png"), SimpleUploadedFile("c.jpg", b"<html></html>")
    )
    added, duplicate, refused = response.json()["outcomes"]
    image = Image.objects.get()
    assert response.status_code == 200
    assert added == {"name": "a.png", "status": "added", "reason": "", "code": 201, "image": image.pk}
    assert (duplicate["status"], duplicate["code"]) == ("duplicate", 409)
    assert "the same picture as ‘a.png’" in duplicate["reason"].lower()
    assert (refused["status"], refused["code"], refused["image"]) == ("refused", 422, None)
    assert "web page" in refused["reason"]
    assert image.uploaded_by == make_user("bob") and default_storage.exists(image.file_name)


def test_a_file_that_is_too_large_is_refused_by_itself(bob: Client, settings: object) -> None:
    settings.EXEML_MAX_IMAGE_MB = 1
    large = SimpleUploadedFile("large.png", bytes(1024 * 1024 + 1))
    outcomes = upload(bob, make_project(labels=0), large, picture("a.png")).json()["outcomes"]
    assert [outcome["status"] for outcome in outcomes] == ["refused", "added"]
    assert outcomes[0]["reason"] == "The file is larger than 1 MB."


def test_an_upload_without_files_says_so(bob: Client) -> None:
    response = upload(bob, make_project(labels=0))
    assert response.status_code == 422 and response.json()["error"] == "The request contains no file."


def test_a_plain_form_shows_the_outcomes_as_a_page(bob: Client) -> None:
    project = make_project(labels=0)
    files = [picture("a.png"), SimpleUploadedFile("b.jpg", b"text")]
    response = upload(bob, project, *files, Accept="text/html")
    text = html_of(response)
    assert response.status_code == 200 and "a.png" in text and "Refused." in text and "not a picture" in text
    assert upload(bob, project, Accept="text/html").status_code == 422


def test_a_thumbnail_is_private_and_asked_for_once(vera: Client) -> None:
    project = make_project(labels=1, images=1, with_files=True)
    image = project.images.get()
    address = reverse("image_thumbnail", args=[project.pk, image.sha256])

    with CaptureQueriesContext(connection) as captured:
        response = vera.get(address)

    assert response.status_code == 200 and response["Content-Type"] == "image/webp"
    assert {"private", "max-age=31536000", "immutable"} <= set(response["Cache-Control"].split(", "))
    assert response.content == default_storage.open(image.thumbnail_name).read()
    assert len(captured) <= 4


def test_a_thumbnail_is_made_when_it_is_first_asked_for(vera: Client, bob: Client, mallory: Client) -> None:
    project = make_project(labels=0)
    upload(bob, project, picture("new.png", 424_242))
    image = project.images.get()
    address = reverse("image_thumbnail", args=[project.pk, image.sha256])

    assert mallory.get(address).status_code == 404 and not default_storage.exists(image.thumbnail_name)
    first, second = vera.get(address), vera.get(address)
    assert first.content == second.content == default_storage.open(image.thumbnail_name).read()
    assert first["Content-Type"] == "image/webp" and "private" in first["Cache-Control"]

    actions.delete_images(project, [image.pk], make_user("bob"))
    bin.purge(project, [image.pk])
    assert vera.get(address).status_code == 404 and not default_storage.exists(image.thumbnail_name)


def test_a_thumbnail_of_a_file_that_is_lost_is_404(vera: Client, bob: Client) -> None:
    project = make_project(labels=0)
    upload(bob, project, picture("lost.png", 535_353))
    image = project.images.get()
    default_storage.delete(image.file_name)
    assert vera.get(reverse("image_thumbnail", args=[project.pk, image.sha256])).status_code == 404


def test_the_grid_names_the_addresses_that_answer(vera: Client) -> None:
    project = make_project(labels=1, images=1, with_files=True)
    tile = vera.get(reverse("label_data", args=[project.pk])).context["page"].tiles[0]
    assert vera.get(tile.thumbnail_url).status_code == vera.get(tile.file_url).status_code == 200


def test_a_file_comes_as_it_was_uploaded_and_as_what_it_is(bob: Client) -> None:
    project = make_project(labels=0)
    upload(bob, project, SimpleUploadedFile("x.html", picture_bytes(1, format="JPEG")))
    response = bob.get(reverse("image_file", args=[project.pk, project.images.get().pk]))
    assert response["Content-Type"] == "image/jpeg" and response["X-Content-Type-Options"] == "nosniff"
    assert b"".join(response.streaming_content) == picture_bytes(1, format="JPEG")


@pytest.mark.parametrize("sha256", ["0" * 64, "..", "A" * 64, "0" * 63])
def test_an_unknown_thumbnail_is_404(vera: Client, sha256: str) -> None:
    project = make_project(labels=0)
    assert vera.get(reverse("image_thumbnail", args=[project.pk, sha256])).status_code == 404


def test_images_are_reached_through_their_own_project_only(vera: Client, mallory: Client) -> None:
    project = make_project(labels=0)
    other = make_project("other", labels=0)
    image = make_image(project, 987_654, with_file=True)  # in the files of no other test
    file, thumbnail = [image.pk], [image.sha256]
    assert vera.get(reverse("image_file", args=[other.pk, *file])).status_code == 404
    assert vera.get(reverse("image_thumbnail", args=[other.pk, *thumbnail])).status_code == 404
    assert mallory.get(reverse("image_file", args=[project.pk, *file])).status_code == 404
    assert mallory.get(reverse("image_thumbnail", args=[project.pk, *thumbnail])).status_code == 404


def test_deleting_moves_images_to_the_bin_and_restoring_brings_them_back(bob: Client) -> None:
    project = make_project(labels=1, images=3)
    two = ",".join(str(pk) for pk in project.images.values_list("pk", flat=True)[:2])

    deleted = bob.post(reverse("delete_images", args=[project.pk]), {"images": two}, headers=HTMX)
    assert "2 images moved to the bin." in html_of(deleted)
    assert project.images.alive().count() == 1

    in_bin = bob.get(reverse("label_data", args=[project.pk]) + "?tab=bin")
    assert "30 days left" in html_of(in_bin)

    restored = bob.post(reverse("restore_images", args=[project.pk]), {"images": two}, headers=HTMX)
    assert "2 images restored." in html_of(restored)
    assert project.images.labeled().count() == 3


def test_the_message_after_a_large_action_counts_all_its_images(bob: Client) -> None:
    """More than 200 images are deleted in parts."""
    project = make_project(labels=0, unlabeled=201)
    everything = {"matching": "on", "count": 201}
    deleted = bob.post(reverse("delete_images", args=[project.pk]), everything, headers=HTMX)
    assert "201 images moved to the bin." in html_of(deleted)
    address = reverse("restore_images", args=[project.pk]) + "?tab=bin"
    assert "201 images restored." in html_of(bob.post(address, everything, headers=HTMX))


def test_deleting_nothing_is_422(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    for name in ("delete_images", "restore_images"):
        response = bob.post(reverse(name, args=[project.pk]), {"images": ""}, headers=HTMX)
        assert response.status_code == 422
    assert project.images.alive().count() == 1


def test_images_of_another_project_are_not_deleted(bob: Client) -> None:
    project, other = make_project(labels=0), make_project("other", labels=1, images=1)
    bob.post(reverse("delete_images", args=[project.pk]), {"images": other.images.get().pk}, headers=HTMX)
    assert other.images.alive().count() == 1
    actions.delete_images(other, [other.images.get().pk], None)
    bob.post(reverse("restore_images", args=[project.pk]), {"images": other.images.get().pk}, headers=HTMX)
    assert other.images.alive().count() == 0

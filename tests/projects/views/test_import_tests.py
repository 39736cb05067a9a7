"""An import asks what becomes of images that folders or label files call test images."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from projects.models import Project, Transfer
from projects.transfers import import_job
from tests.factories import make_project, picture_bytes
from tests.pages import html_of
from tests.projects.transfers.import_factories import zipped

pytestmark = pytest.mark.django_db
FOLDERS = ("train/a", "train/b", "test/a", "test/b", "test/b")
FILES = {f"{folder}/{n}.png": picture_bytes(n) for n, folder in enumerate(FOLDERS)}


def send(client: Client, project: Project, files: Any = None, **fields: Any) -> Transfer:
    file = SimpleUploadedFile("a.zip", zipped(files or FILES))
    client.post(reverse("create_import", args=[project.pk]), {"uploads": file, "asks": "on", **fields})
    return run(Transfer.objects.latest("pk"))


def run(transfer: Transfer) -> Transfer:
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    return transfer


def review(client: Client, transfer: Transfer, **fields: Any) -> Any:
    address = reverse("review_import", args=[transfer.project_id, transfer.pk])
    return client.post(address, {"labels_from": "auto", "existing": "keep", **fields})


def splits_of(project: Project) -> list[str]:
    return sorted(project.images.values_list("split", flat=True))


def test_an_archive_with_test_folders_waits_and_asks(bob: Client) -> None:
    project = make_project(labels=0)
    waiting = send(bob, project)
    assert (waiting.status, project.images.count()) == ("Review", 0)
    html = html_of(bob.get(reverse("transfer", args=[project.pk, waiting.pk])))
    assert "3 images in folders called “test”: choose below whether to keep them as a test set." in html
    assert "Use them for training and validation" in html


@pytest.mark.parametrize(
    ("choice", "splits"),
    [
        ("keep", ["TEST", "TEST", "TEST", "TRAIN", "TRAIN"]),
        ("use", ["", "", "", "TRAIN", "TRAIN"]),
        ("all", ["TEST"] * 5),
    ],
)
def test_the_answer_decides(bob: Client, choice: str, splits: list[str]) -> None:
    project = make_project(labels=0)
    waiting = send(bob, project)
    assert review(bob, waiting, tests=choice).status_code == 303
    assert run(waiting).status == "Completed"
    assert splits_of(project) == splits


def test_look_again_shows_what_the_answer_changes(bob: Client) -> None:
    project = make_project(labels=0)
    waiting = send(bob, project, is_shown="on")
    review(bob, waiting, tests="use", again="1")
    assert run(waiting).status == "Review"
    shown = waiting.report["preview"]
    assert (shown["tests"], shown["splits"], shown["doubts"]) == (3, [["Training", 2]], [])


def test_who_answered_in_the_form_is_not_asked(bob: Client) -> None:
    project = make_project(labels=0)
    assert send(bob, project, tests="use").status == "Completed"
    assert splits_of(project) == ["", "", "", "TRAIN", "TRAIN"]


def test_an_archive_without_test_images_can_be_kept_as_a_test_set(bob: Client) -> None:
    project = make_project(labels=0)
    files = {f"{'ab'[n % 2]}/{n}.png": picture_bytes(n) for n in range(4)}
    assert send(bob, project, files, tests="all").status == "Completed"
    assert splits_of(project) == ["TEST"] * 4


def test_test_rows_of_a_label_file_are_asked_about(bob: Client) -> None:
    project = make_project(labels=0)
    files = {f"{n}.png": picture_bytes(n) for n in range(2)}
    table = "image,label,split\n0.png,cat,test\n1.png,dog,train\n"
    waiting = send(bob, project, {**files, "t.csv": table})
    assert waiting.status == "Review"
    assert waiting.report["preview"]["doubts"][0]["name"] == "tests"


def test_a_program_that_cannot_be_asked_keeps_the_test_set(bob: Client) -> None:
    project = make_project(labels=0)
    file = SimpleUploadedFile("a.zip", zipped(FILES))
    bob.post(reverse("create_import", args=[project.pk]), {"uploads": file})
    assert run(Transfer.objects.latest("pk")).status == "Completed"
    assert splits_of(project) == ["TEST", "TEST", "TEST", "TRAIN", "TRAIN"]


def test_nonsense_is_refused(bob: Client) -> None:
    project = make_project(labels=0)
    waiting = send(bob, project)
    assert review(bob, waiting, tests="sell").status_code == 422
    waiting.refresh_from_db()
    assert waiting.status == "Review"
    file = SimpleUploadedFile("a.zip", zipped(FILES))
    answer = bob.post(reverse("create_import", args=[project.pk]), {"uploads": file, "tests": "sell"})
    assert answer.status_code == 422


def test_the_page_offers_an_evaluation_on_the_imported_images(bob: Client, vera: Client) -> None:
    project = make_project(labels=0)
    done = send(bob, project, tests="all")
    url = reverse("transfer", args=[project.pk, done.pk])
    assert f"/evaluate/?tab=labeled&amp;imported={done.pk}" in html_of(bob.get(url))
    assert "/evaluate/" not in html_of(vera.get(url))
    assert 'value="all" selected' in html_of(bob.get(reverse("transfers", args=[project.pk]) + "?tests=all"))

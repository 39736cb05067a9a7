"""The page before an import: only where anything is in doubt, and with what was found."""

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
from tests.projects.transfers.import_factories import labels_by_name, reasons, zipped

pytestmark = pytest.mark.django_db
PICTURES = {f"{n}.png": picture_bytes(n) for n in range(3)}


def sent(client: Client, project: Project, files: dict[str, bytes | str], **fields: Any) -> Transfer:
    """An import as the page sends it, after the worker looked at it."""
    file = SimpleUploadedFile("a.zip", zipped(files))
    answer = client.post(
        reverse("create_import", args=[project.pk]), {"uploads": file, "asks": "on", **fields}
    )
    assert answer.status_code == 303
    return run(Transfer.objects.latest("pk"))


def run(transfer: Transfer) -> Transfer:
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    return transfer


def page_of(client: Client, transfer: Transfer) -> str:
    return html_of(client.get(reverse("transfer", args=[transfer.project_id, transfer.pk])))


def review(client: Client, transfer: Transfer, **fields: Any) -> Any:
    address = reverse("review_import", args=[transfer.project_id, transfer.pk])
    return client.post(address, {"labels_from": "auto", "existing": "keep", **fields})


def test_a_plain_archive_needs_one_press(bob: Client) -> None:
    project = make_project(labels=0)
    done = sent(bob, project, {"a/1.png": picture_bytes(1), "b/2.png": picture_bytes(2)})
    assert done.status == "Completed"
    assert labels_by_name(project) == {"1.png": ["a"], "2.png": ["b"]}


def test_what_is_in_doubt_waits_for_a_person_and_nothing_is_imported(bob: Client) -> None:
    project = make_project(labels=0)
    table = "image,label\n0.png,cat\n1.png,dog\nelsewhere.png,dog\n"
    waiting = sent(bob, project, {**PICTURES, "t.csv": table})
    assert (waiting.status, project.images.count()) == ("Review", 0)
    page = page_of(bob, waiting)
    assert "1 image in no label file" in page and "1 row about an image" in page
    assert "What will be imported" in page and "t.csv" in page and "every 1s" not in page

    answer = review(bob, waiting)
    assert answer.status_code == 303
    assert run(waiting).status == "Completed"
    assert labels_by_name(project) == {"0.png": ["cat"], "1.png": ["dog"], "2.png": []}


def test_what_will_happen_names_labels_and_splits_as_the_import_will(bob: Client) -> None:
    project = make_project(labels=0)
    folders = ("test/A", "train/a", "val/A", "train/A")
    files = {f"{folder}/{n}.png": picture_bytes(n) for n, folder in enumerate(folders)}
    waiting = sent(bob, project, files, is_shown="on")
    assert waiting.status == "Review"
    assert waiting.report["preview"]["labels"] == [["A", 4]]
    assert waiting.report["preview"]["splits"] == [["Training", 2], ["Validation", 1], ["Test", 1]]


def test_other_columns_are_looked_at_again_before_they_are_imported(bob: Client) -> None:
    project = make_project(labels=0)
    table = "file,animal,colour\n0.png,cat,red\n1.png,dog,red\n2.png,cat,blue\n"
    waiting = sent(bob, project, {**PICTURES, "t.csv": table}, is_shown="on")
    assert waiting.status == "Review"
    chosen = {
        "file-0-is_used": "on",
        "file-0-image": "0",
        "file-0-labels": ["2"],
        "file-0-split": "",
        "file-0-separator": "",
        "file-0-encoding": "utf-8",
    }
    assert review(bob, waiting, again="1", **chosen).status_code == 303
    assert run(waiting).status == "Review"
    assert dict(waiting.report["preview"]["labels"]) == {"red": 2, "blue": 1}
    assert project.images.count() == 0
    review(bob, waiting, **chosen)
    assert run(waiting).status == "Completed"
    assert labels_by_name(project) == {"0.png": ["red"], "1.png": ["red"], "2.png": ["blue"]}


def test_a_label_file_that_is_not_wanted_is_left_out_by_name(bob: Client) -> None:
    project = make_project(labels=0)
    waiting = sent(bob, project, {**PICTURES, "t.csv": "image,label\n0.png,cat\n"})
    review(bob, waiting, **{"file-0-image": "0", "file-0-labels": ["1"], "file-0-encoding": "utf-8"})
    assert run(waiting).status == "Completed", waiting.problem
    assert set(map(tuple, labels_by_name(project).values())) == {()}
    assert "another source of labels" in reasons(waiting)["t.csv"]


def test_nonsense_in_the_form_is_refused_at_its_field(bob: Client) -> None:
    project = make_project(labels=0)
    waiting = sent(bob, project, {**PICTURES, "t.csv": "image,label\n0.png,cat\n"})
    answer = review(bob, waiting, **{"file-0-image": "77", "file-0-encoding": "utf-8"})
    assert answer.status_code == 422
    assert "Select a valid choice" in html_of(answer)
    waiting.refresh_from_db()
    assert waiting.status == "Review"


def test_a_viewer_cannot_import_and_a_stranger_finds_nothing(
    bob: Client, vera: Client, mallory: Client
) -> None:
    waiting = sent(bob, make_project(labels=0), {**PICTURES, "t.csv": "image,label\n0.png,cat\n"})
    assert review(vera, waiting).status_code == 403
    assert review(mallory, waiting).status_code == 404
    assert "Import\n" not in page_of(vera, waiting)


def test_an_import_that_waits_can_be_cancelled_and_is_given_up_after_two_days(bob: Client) -> None:
    project = make_project(labels=0)
    waiting = sent(bob, project, {**PICTURES, "t.csv": "image,label\n0.png,cat\n"})
    bob.post(reverse("cancel_import", args=[project.pk, waiting.pk]))
    waiting.refresh_from_db()
    assert waiting.status == "Cancelled"
    assert review(bob, waiting).status_code == 303
    waiting.refresh_from_db()
    assert waiting.status == "Cancelled"

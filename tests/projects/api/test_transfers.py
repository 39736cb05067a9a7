"""Imports and exports for programs: started, watched, reviewed, cancelled, taken back."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from projects.models import AuditEvent, DataSource, Project, Transfer
from projects.transfers import import_job
from tests.factories import make_project, make_user, picture_bytes
from tests.projects.api.callers import ApiClient
from tests.projects.transfers.import_factories import imported, labels_by_name, prepared, zipped

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db: None) -> Project:
    return make_project(labels=0)


@pytest.fixture
def bob(project: Project) -> ApiClient:
    return ApiClient(make_user("bob"), ["label"])


def path(project: Project, *parts: object) -> str:
    return "/".join([f"/projects/{project.pk}/imports", *map(str, parts)])


def archive(files: dict[str, bytes | str], name: str = "flowers.zip") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, zipped(files))


def errors(answer: Any) -> dict[str, str]:
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


FLOWERS = {"roses/1.png": picture_bytes(1), "tulips/2.png": picture_bytes(2), "tulips/x.gif": b"GIF89a"}


# --- start, progress, report ---


def test_an_archive_is_imported_and_its_report_read(bob: ApiClient, project: Project) -> None:
    started = bob.upload(path(project), [archive(FLOWERS)], name="file")
    assert started.status_code == 200 and started.json()["status"] == "Waiting"
    transfer = Transfer.objects.get()
    import_job.run(transfer.pk)
    body = bob.get(path(project, transfer.pk)).json()
    assert labels_by_name(project) == {"1.png": ["roses"], "2.png": ["tulips"]}
    assert (body["status"], body["by"], body["file_name"]) == ("Completed", "bob", "flowers.zip")
    assert (body["done_count"], body["total_count"], body["labels_from"]) == (3, 3, "folders")
    occurred = {name: count for name, count in body["counts"].items() if count}
    assert occurred == {"added": 2, "labeled": 2, "refused": 1} and body["refused_count"] == 1
    assert body["review"] == body["doubts"] == []
    (refused,) = bob.get(path(project, transfer.pk, "refused")).json()["items"]
    assert refused["name"] == "tulips/x.gif" and "This GIF picture is damaged" in refused["reason"]
    assert AuditEvent.objects.get(kind="import.started").way == "api"


def test_options_are_those_of_the_page(bob: ApiClient, project: Project) -> None:
    bob.upload(path(project), [archive(FLOWERS)], name="file", labels_from="nothing", tests="use")
    options = Transfer.objects.get().options
    assert (options["labels_from"], options["tests"], options["existing"]) == ("nothing", "use", "keep")
    assert options["is_reviewed"] and not options["is_shown"]


def test_a_label_file_and_an_archive_come_together(bob: ApiClient, project: Project) -> None:
    table = SimpleUploadedFile("labels.csv", b"image,label\n1.png,roses\n")
    bob.upload(path(project), [archive({"1.png": picture_bytes(1)}), table], name="file")
    import_job.run(Transfer.objects.get().pk)
    assert labels_by_name(project) == {"1.png": ["roses"]}


@pytest.mark.parametrize(
    ("files", "fields", "field", "sentence"),
    [
        ([], {}, "file", "Choose a zip archive"),
        ([SimpleUploadedFile("a.rar", b"x")], {}, "file", "Choose a zip archive"),
        ([SimpleUploadedFile("a.zip", b"")], {}, "file", "empty"),
        ([SimpleUploadedFile("a.exeml.tar", b"x")], {}, "file", "Only Managers can import a project file."),
        ([archive({})], {"labels_from": "stars"}, "labels_from", "stars is not one of the available choices"),
        ([archive({})], {"folder": "x"}, "addresses", "Enter the beginning of the addresses"),
        ([], {"source": "yes"}, "source", "has no data source"),
        ([], {"source": "perhaps"}, "source", "valid boolean"),
    ],
)
def test_what_cannot_be_imported_is_refused_at_its_field(
    bob: ApiClient, project: Project, files: Any, fields: dict[str, str], field: str, sentence: str
) -> None:
    answer = bob.upload(path(project), files, name="file", **fields)
    assert answer.status_code == 422 and sentence in errors(answer)[field]
    assert not Transfer.objects.exists()


def test_the_data_source_is_read_again(
    bob: ApiClient, project: Project, settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "1.png").write_bytes(picture_bytes(1))
    DataSource.objects.create(project=project, address=str(tmp_path))
    refused = bob.upload(path(project), source="yes")
    assert refused.status_code == 422 and "EXEML_SOURCE_ROOTS" in errors(refused)["source"]
    settings.EXEML_SOURCE_ROOTS = [str(tmp_path)]
    first = bob.upload(path(project), source="yes").json()
    assert (first["kind"], bob.upload(path(project), source="yes").json()["id"]) == ("source", first["id"])
    import_job.run(first["id"])
    (tmp_path / "1.png").unlink()
    second = bob.upload(path(project), source="yes").json()
    import_job.run(second["id"])
    missing = bob.get(path(project, second["id"])).json()["missing_image_ids"]
    assert missing == [project.images.get().pk]


def test_a_manager_chooses_the_data_source_which_begins_an_import(
    bob: ApiClient, project: Project, settings: Any, tmp_path: Path
) -> None:
    alice, source = ApiClient(make_user("alice")), f"/projects/{project.pk}/data-source"
    missing = bob.get(source)
    assert missing.status_code == 404 and "A Manager chooses it" in missing.json()["detail"]
    wanted = {"address": f"{tmp_path}/", "has_folder_labels": True}
    refused = alice.put(source, wanted)
    assert refused.status_code == 422 and "EXEML_SOURCE_ROOTS" in errors(refused)["address"]
    settings.EXEML_SOURCE_ROOTS = [str(tmp_path)]
    assert "without “..”" in errors(alice.put(source, {"address": f"{tmp_path}/../x"}))["address"]
    assert ApiClient(make_user("bob")).put(source, wanted).json()["type"] == "urn:exeml:problem:role-too-low"
    chosen = alice.put(source, wanted).json()
    assert chosen["data_source"] == {
        "address": str(tmp_path),
        "has_folder_labels": True,
        "chosen_by": "alice",
        "synchronized_at": None,
    }
    assert chosen["started_import"]["kind"] == "source"
    assert bob.get(source).json() == chosen["data_source"]
    import_job.run(chosen["started_import"]["id"])
    assert bob.get(source).json()["synchronized_at"] is not None


def test_imports_are_listed_newest_first_in_the_same_queries(
    bob: ApiClient, project: Project, django_assert_num_queries: Any
) -> None:
    done = [imported(project, {"a.zip": zipped({f"{n}.gif": b"GIF89a"})}).pk for n in range(3)]
    bob.get("/account")  # notes the use of the token
    with django_assert_num_queries(4):
        body = bob.get(path(project) + "?limit=2").json()
    assert [item["id"] for item in body["items"]] == done[:0:-1]
    assert [item["refused_count"] for item in body["items"]] == [1, 1]
    rest = bob.get(path(project) + f"?cursor={body['next']}&fields=id").json()
    assert rest == {"items": [{"id": done[0]}], "next": None}


# --- review ---


def test_an_import_is_looked_at_before_it_begins(bob: ApiClient, project: Project) -> None:
    table = SimpleUploadedFile("labels.csv", b"image,label,place\n1.png,roses,north\n")
    files = [archive({"1.png": picture_bytes(1)}), table]
    started = bob.upload(path(project), files, name="file", is_shown="true").json()
    import_job.run(started["id"])
    waiting = bob.get(path(project, started["id"])).json()
    assert waiting["status"] == "Review" and project.images.count() == 0
    review = {field["name"]: field for field in waiting["review"]}
    assert review["labels_from"]["value"] == "auto"
    assert review["file-0-labels"]["choices"] == [[0, "image"], [1, "label"], [2, "place"]]
    begin = path(project, started["id"], "begin")
    wrong = bob.post(begin, {"choices": {"colour": "red"}})
    assert errors(wrong) == {"choices.colour": "There is no such choice."}
    wrong = bob.post(begin, {"choices": {"existing": "burn"}})
    assert wrong.status_code == 422 and "choices.existing" in errors(wrong)
    begun = bob.post(begin, {"choices": {"file-0-labels": [2]}})
    assert begun.json()["status"] == "Waiting"
    import_job.run(started["id"])
    assert labels_by_name(project) == {"1.png": ["north"]}
    again = bob.post(begin, {})
    assert (again.status_code, again.json()["detail"]) == (409, "This import does not wait for a review.")


def test_the_files_are_read_again_with_other_choices(bob: ApiClient, project: Project) -> None:
    started = bob.upload(path(project), [archive(FLOWERS)], name="file", is_shown="true").json()
    import_job.run(started["id"])
    begin = path(project, started["id"], "begin")
    bob.post(begin, {"choices": {"labels_from": "nothing"}, "look_again": True})
    import_job.run(started["id"])
    assert bob.get(path(project, started["id"])).json()["status"] == "Review"
    bob.post(begin, {})
    import_job.run(started["id"])
    assert labels_by_name(project) == {"1.png": [], "2.png": []}


# --- cancel, take back ---


def test_an_import_is_cancelled(bob: ApiClient, project: Project) -> None:
    transfer = prepared(project, {"a.zip": zipped(FLOWERS)})
    assert bob.post(path(project, transfer.pk, "cancel")).json()["status"] == "Cancelled"
    assert bob.post(path(project, transfer.pk, "cancel")).json()["status"] == "Cancelled"
    running = prepared(project, {"b.zip": zipped(FLOWERS)})
    Transfer.objects.filter(pk=running.pk).update(status="Running", started_at="2026-01-01T00:00Z")
    assert bob.post(path(project, running.pk, "cancel")).json()["is_cancelling"]


def test_an_import_that_ended_is_taken_back(bob: ApiClient, project: Project) -> None:
    transfer = prepared(project, {"a.zip": zipped(FLOWERS)})
    refused = bob.post(path(project, transfer.pk, "take-back"))
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "The import is still running. Cancel it first.",
    )
    import_job.run(transfer.pk)
    assert bob.post(path(project, transfer.pk, "take-back")).json() == {"image_count": 2}
    assert project.images.filter(deleted_at=None).count() == 0


def test_an_import_of_another_project_is_not_found(bob: ApiClient, project: Project) -> None:
    transfer = imported(make_project("other", labels=0), {"a.zip": zipped(FLOWERS)})
    for method, part in (("GET", ""), ("GET", "/refused"), ("POST", "/cancel"), ("POST", "/take-back")):
        assert bob.call(method, path(project, transfer.pk) + part).status_code == 404


# --- export ---


def test_an_export_is_the_file_of_the_page(bob: ApiClient) -> None:
    project = make_project("roses", labels=2, images=2, unlabeled=1, with_files=True)
    answer = bob.get(f"/projects/{project.pk}/export")
    assert answer["Content-Disposition"] == 'attachment; filename="roses.zip"'
    names = zipfile.ZipFile(io.BytesIO(answer.getvalue())).namelist()
    assert sum(name.startswith("images/") for name in names) == 5
    label = project.labels.first()
    table = bob.get(f"/projects/{project.pk}/export?format=table&label={label.pk}").getvalue().decode()
    assert len(table.splitlines()) == 3
    assert AuditEvent.objects.filter(kind="export").count() == 2
    wrong = bob.get(f"/projects/{project.pk}/export?format=tar")
    assert wrong.status_code == 422 and "Choose one of the formats." in errors(wrong)["format"]


@pytest.mark.parametrize(
    "filters", ["tab=bin", "tab=heap", "colour=red", "label=roses", "split=SIDE", "above=2", "hard=perhaps"]
)
def test_a_filter_that_would_be_ignored_exports_nothing(
    bob: ApiClient, project: Project, filters: str
) -> None:
    answer = bob.get(f"/projects/{project.pk}/export?{filters}")
    assert answer.status_code == 422 and list(errors(answer)) == [filters.partition("=")[0]]
    assert not AuditEvent.objects.filter(kind="export").exists()

"""Batches through the API: start, progress, results, report, mistakes, cancel, delete."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse

from projects.models import AuditEvent
from tests.factories import make_user
from tests.projects.api.callers import ApiClient
from tests.training.bundles import colour_picture
from training.models import Batch, Service
from training.serving.batches import job

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def service(opened: tuple[Service, str]) -> Service:
    for folder in (settings.FILES_DIR / "batches", Path(settings.WORK_DIR) / "batches"):
        shutil.rmtree(folder, ignore_errors=True)  # primary keys begin again in every test
    return opened[0]


@pytest.fixture
def bob(service: Service) -> ApiClient:
    return ApiClient(make_user("bob"), ["deploy"])


def archive(*names: str) -> SimpleUploadedFile:
    """One file for each name, red; a file in a folder has the folder as its label."""
    out = io.BytesIO()
    with ZipFile(out, "w") as file:
        for name in names:
            file.writestr(name, colour_picture("red"))
    return SimpleUploadedFile("pictures.zip", out.getvalue())


def path(service: Service, rest: str = "") -> str:
    return f"/projects/{service.project_id}/services/{service.pk}/batches{rest}"


def content_of(answer: HttpResponse) -> bytes:
    return b"".join(answer.streaming_content)


def test_an_archive_is_predicted_and_its_results_are_files(bob: ApiClient, service: Service) -> None:
    batch = bob.upload(path(service), [archive("red/1.png", "red/2.png", "blue/3.png")]).json()
    assert (batch["status"], batch["done_count"], batch["created_by"]) == ("Waiting", 0, "bob")
    at = path(service, f"/{batch['id']}")
    assert bob.get(f"{at}/results.csv").status_code == 404
    assert bob.get(f"{at}/report").status_code == 404
    job.run(batch["id"])
    done = bob.get(at).json()
    assert (done["status"], done["image_count"], done["done_count"]) == ("Completed", 3, 3)
    assert done["accuracy"] == pytest.approx(2 / 3)
    table = bob.get(f"{at}/results.csv")
    rows = list(csv.DictReader(io.StringIO(content_of(table).decode("utf-8-sig"))))
    assert {row["predicted_label"] for row in rows} == {"red"} and len(rows) == 3
    names = ZipFile(io.BytesIO(content_of(bob.get(f"{at}/results.zip")))).namelist()
    assert "result.manifest" in names and len(names) == 4
    report = bob.get(f"{at}/report").json()
    assert (report["accuracy"]["hits"], report["accuracy"]["support"]) == (2, 3)
    line = Batch.objects.get().judgement["mistakes"][0]["number"]
    picture = bob.get(f"{at}/mistakes/{line}")
    assert picture["Content-Type"] == "image/webp" and picture.content[8:12] == b"WEBP"
    assert bob.get(f"{at}/mistakes/99").status_code == 404
    assert AuditEvent.objects.filter(kind="download", user_name="bob").count() == 2
    assert [row["id"] for row in bob.get(path(service)).json()["items"]] == [batch["id"]]


@pytest.mark.parametrize(
    ("files", "fields", "text"),
    [
        ([], {}, "Choose one"),
        ([], {"selection": "everything"}, "Choose one of the selections"),
        ([SimpleUploadedFile("a.txt", b"a")], {}, "“a.txt” is neither"),
        ([], {"address": "/etc"}, "have not allowed"),
    ],
)
def test_what_cannot_start_is_said(
    bob: ApiClient, service: Service, files: list[SimpleUploadedFile], fields: dict[str, str], text: str
) -> None:
    answer = bob.upload(path(service), files, **fields)
    assert answer.status_code == 422 and text in answer.json()["detail"]
    assert not Batch.objects.exists()


def test_an_active_batch_is_cancelled_before_it_is_deleted(bob: ApiClient, service: Service) -> None:
    batch = bob.upload(path(service), selection="unlabeled").json()
    at = path(service, f"/{batch['id']}")
    refused = bob.delete(at)
    assert refused.status_code == 409 and "Cancel it first" in refused.json()["detail"]
    assert bob.post(f"{at}/cancel").json()["status"] == "Cancelled"
    assert bob.post(f"{at}/cancel").json()["status"] == "Cancelled"
    assert bob.delete(at).status_code == 204
    assert bob.get(at).status_code == 404 and not Batch.objects.exists()

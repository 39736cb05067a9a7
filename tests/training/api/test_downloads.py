"""Files of a version through the API: those of its page, with the same names."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import pytest

from exeml_site.lib import storage
from projects.models import AuditEvent
from tests.factories import make_project, make_user, make_version
from tests.projects.api.callers import ApiClient
from tests.training.views.test_evaluation import completed
from training.models import Status, TrainingVersion
from training.serving.download import onnx_export

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(db: None) -> Iterator[TrainingVersion]:
    version = completed()
    yield version
    storage.delete_folder(version.folder)


@pytest.fixture
def vera(version: TrainingVersion) -> ApiClient:
    return ApiClient(make_user("vera"), ["train"])


def path(version: TrainingVersion, part: str = "") -> str:
    return f"/projects/{version.project_id}/versions/{version.number}{part}"


def test_the_archive_is_that_of_the_page(vera: ApiClient, version: TrainingVersion) -> None:
    answer = vera.get(path(version, "/archive"))
    assert answer["Content-Disposition"] == 'attachment; filename="flowers-V001.zip"'
    names = zipfile.ZipFile(io.BytesIO(answer.getvalue())).namelist()
    assert {"evaluation.json", "predictions.jsonl", "verify.py"} <= set(names)
    download = AuditEvent.objects.get(kind="download")
    assert (download.target, download.way) == ("flowers-V001.zip", "api")


def test_an_onnx_export_is_requested_and_fetched_when_it_is_made(
    vera: ApiClient, version: TrainingVersion
) -> None:
    early = vera.get(path(version, "/onnx"))
    assert early.status_code == 404 and "Request it with POST" in early.json()["detail"]
    assert vera.get(path(version)).json()["onnx"] == {"state": "", "size_bytes": None, "problem": ""}
    assert vera.post(path(version, "/onnx")).json()["onnx"]["state"] == "making"
    assert vera.get(path(version, "/onnx")).status_code == 404
    storage.save_whole(onnx_export.stored_name(version), b"PK a zip")
    TrainingVersion.objects.update(export={"state": "made", "bytes": 8})
    assert vera.get(path(version)).json()["onnx"] == {"state": "made", "size_bytes": 8, "problem": ""}
    made = vera.get(path(version, "/onnx"))
    assert made.getvalue() == b"PK a zip"
    assert made["Content-Disposition"] == 'attachment; filename="flowers-V001-onnx.zip"'


@pytest.mark.parametrize(("method", "part"), [("GET", "/archive"), ("GET", "/onnx"), ("POST", "/onnx")])
def test_a_version_that_is_not_completed_has_no_files(db: None, method: str, part: str) -> None:
    version = make_version(make_project(), 1, Status.FAILED)
    answer = ApiClient(make_user("vera")).call(method, path(version, part))
    assert answer.status_code == 404 and "V001 is Failed" in answer.json()["detail"]

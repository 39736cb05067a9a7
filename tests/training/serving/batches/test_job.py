"""Batch: pictures of archives, manifests and folders answered by a worker; stopped, resumed, taken along."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from exeml_site.lib import job_row
from projects.images import upload as image_upload
from tests.factories import make_user
from tests.pages import html_of
from tests.training.bundles import colour_picture
from training.models import Batch, Service, TrainingVersion
from training.serving import deploy
from training.serving.batches import job, results
from training.serving.inference import predictor


@pytest.fixture
def service(version: TrainingVersion) -> Iterator[Service]:
    yield deploy.deploy(version, make_user("alice"), 1)[0]
    for folder in (settings.FILES_DIR / "batches", Path(settings.WORK_DIR) / "batches"):
        shutil.rmtree(folder, ignore_errors=True)


def zipped(**contents: bytes) -> SimpleUploadedFile:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return SimpleUploadedFile("pictures.zip", out.getvalue())


def colours(*names: str) -> SimpleUploadedFile:
    return zipped(**{f"in__{n}_{name}_dot_png": colour_picture(name) for n, name in enumerate(names)})


def begun(service: Service, *uploads: SimpleUploadedFile, address: str = "") -> Batch:
    return job.create_batch(service, uploads, address, make_user("bob"))


def ran(batch: Batch) -> Batch:
    job.run(batch.pk)
    batch.refresh_from_db()
    return batch


def lines(batch: Batch) -> list[dict[str, object]]:
    return list(results.read_results(batch))


def at(name: str, service: Service, *more: object) -> str:
    return reverse(name, args=[service.project_id, service.pk, *more])


def test_every_picture_of_an_archive_is_answered_in_order_and_the_upload_goes(service: Service) -> None:
    batch = begun(service, colours("red", "green", "blue"))
    stored = batch.files[0]["stored"]
    assert ran(batch).status == "Completed"
    assert (batch.total, batch.done, batch.failed) == (3, 3, 0)
    results = lines(batch)
    assert [line["predicted_label"] for line in results] == ["red", "green", "blue"]
    assert results[0]["source"] == "in/0_red.png" and len(results[0]["scores"]) == 5
    assert not default_storage.exists(stored)


def test_answers_are_those_of_the_service(service: Service) -> None:
    batch = ran(begun(service, colours("yellow")))
    answer = predictor.predict(service.training_version, colour_picture("yellow"))
    assert lines(batch)[0]["scores"] == answer.as_json()["scores"]


def test_pictures_without_an_answer_are_listed_with_the_reason(service: Service, vera: Client) -> None:
    batch = ran(begun(service, zipped(a_dot_png=colour_picture("red"), b_dot_jpg=b"hello")))
    assert (batch.status, batch.done, batch.failed) == ("Completed", 2, 1)
    page = html_of(vera.get(at("batch_report", service, batch.pk)))
    assert "b.jpg" in page and "This is not a picture." in page and "a.png" not in page


def test_a_manifest_names_images_of_the_project(service: Service) -> None:
    upload = SimpleUploadedFile("mine.png", colour_picture("blue"))
    (outcome,) = image_upload.add_images(service.project, [upload], make_user("bob"))
    sources = [{"source": f"s3://bucket/{name}"} for name in ("mine.png", "no.png")]
    manifest = "\n".join(json.dumps(source) for source in sources)
    batch = ran(begun(service, SimpleUploadedFile("list.manifest", manifest.encode())))
    answered, missing = lines(batch)
    assert (answered["source"], answered["predicted_label"]) == ("mine.png", "blue")
    assert missing["result"] == "FAILED" and "neither among the files" in missing["error_message"]
    default_storage.delete(outcome.image.file_name)


def test_a_folder_of_the_server_is_answered_where_operators_allow_it(
    service: Service, tmp_path: Path, settings
) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.png").write_bytes(colour_picture("green"))
    with pytest.raises(job.BatchRefused, match="Operators have not allowed any location"):
        begun(service, address=str(tmp_path / "inbox"))
    settings.EXEML_SOURCE_ROOTS = [str(tmp_path)]
    batch = ran(begun(service, address=str(tmp_path / "inbox")))
    assert [line["predicted_label"] for line in lines(batch)] == ["green"]
    assert (tmp_path / "inbox" / "a.png").exists()


@pytest.mark.parametrize("half_written", [b"", b'{"source": "in/2_bl'])
def test_interrupted_it_goes_on_and_doubles_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, half_written: bytes
) -> None:
    """A killed worker left two answers, and perhaps a half of the third."""
    whole = ran(begun(service, colours("red", "green", "blue")))
    expected = lines(whole)
    batch = begun(service, colours("red", "green", "blue"))
    path = job._results_path(batch)
    kept = "".join(json.dumps(line) + "\n" for line in expected[:2]).encode()
    path.write_bytes(kept + half_written)
    Batch.objects.filter(pk=batch.pk).update(
        status="Running", heartbeat_at=timezone.now() - 2 * job_row.SILENT_AFTER
    )
    asked: list[bytes] = []
    predict = predictor.predict
    monkeypatch.setattr(
        predictor,
        "predict",
        lambda version, image, *more: asked.append(image) or predict(version, image, *more),
    )
    assert ran(batch).status == "Completed"
    assert lines(batch) == expected and len(asked) == 1


class Arriving(io.BytesIO):
    """An upload during whose storing something happens."""

    def __init__(self, content: bytes, event: Callable[[], None]) -> None:
        super().__init__(content)
        self.event = event

    def read(self, size: int | None = -1) -> bytes:
        self.event()
        return super().read(size)


def test_a_worker_that_comes_while_the_files_are_stored_waits_for_them(service: Service) -> None:
    """Large archives take longer than the clock waits."""

    def tick() -> None:
        job.catch_up()
        job.run(service.batches.get().pk)

    upload = colours("red", "green")
    upload.file = Arriving(upload.read(), tick)
    batch = begun(service, upload)
    batch.refresh_from_db()
    assert batch.status == "Waiting" and batch.problem == ""
    assert ran(batch).status == "Completed" and batch.total == 2


def test_an_upload_that_cannot_be_stored_leaves_no_batch(service: Service) -> None:
    def full() -> None:
        raise OSError("No space left on device")

    upload = colours("red")
    upload.file = Arriving(b"", full)
    with pytest.raises(OSError, match="No space"):
        begun(service, upload)
    assert not service.batches.exists()


def test_one_that_is_taken_out_while_its_files_are_stored_leaves_nothing(service: Service) -> None:
    def take_out() -> None:
        for batch in Batch.objects.all():
            assert job.cancel(batch) and job.delete(batch)

    upload = colours("red")
    upload.file = Arriving(upload.read(), take_out)
    with pytest.raises(job.BatchRefused, match="deleted this batch"):
        begun(service, upload)
    assert not Batch.objects.exists() and not default_storage.listdir("batches")[0]


def test_one_whose_files_never_came_ends_with_the_reason(service: Service) -> None:
    version = service.training_version
    batch = Batch.objects.create(service=service, training_version=version, name="a.zip")
    job.catch_up()
    assert ran(batch).status == "Waiting"
    Batch.objects.filter(pk=batch.pk).update(created_at=timezone.now() - timedelta(hours=7))
    job.catch_up()
    batch.refresh_from_db()
    assert batch.status == "Failed" and "interrupted" in batch.problem


def test_a_batch_that_another_worker_has_is_left_alone(service: Service) -> None:
    batch = begun(service, colours("red"))
    Batch.objects.filter(pk=batch.pk).update(status="Running", heartbeat_at=timezone.now())
    assert ran(batch).status == "Running" and batch.total is None


def test_cancelling_keeps_what_was_answered(
    service: Service, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "CHUNK_SIZE", 1)
    batch, beat = begun(service, colours("red", "green", "blue")), Batch.beat

    def beat_after_cancel(running: Batch, **fields: int) -> None:
        assert job.cancel(running)
        beat(running, **fields)

    monkeypatch.setattr(Batch, "beat", beat_after_cancel)
    assert ran(batch).status == "Cancelled"
    assert batch.done == len(lines(batch)) == 1
    answer = bob.get(at("batch_download", service, batch.pk, "results.csv"))
    assert b"red" in b"".join(answer.streaming_content)


def test_one_that_waits_is_cancelled_at_once_and_never_runs(
    service: Service, bob: Client, django_capture_on_commit_callbacks
) -> None:
    batch = begun(service, colours("red"))
    bob.post(at("cancel_batch", service, batch.pk))
    assert ran(batch).status == "Cancelled" and batch.done == 0
    with django_capture_on_commit_callbacks(execute=True):
        question = html_of(bob.get(at("cancel_batch", service, batch.pk), headers={"HX-Request": "true"}))
        assert "Delete pictures.zip?" in question and "<html" not in question
        assert Batch.objects.filter(pk=batch.pk).exists()
        bob.post(at("cancel_batch", service, batch.pk))  # pressed just when it ended
        assert Batch.objects.filter(pk=batch.pk, status="Cancelled").exists()
        bob.post(at("cancel_batch", service, batch.pk), {"delete": "1"})
    assert not Batch.objects.exists() and not default_storage.exists(batch.files[0]["stored"])


@pytest.mark.parametrize(
    ("upload", "sentence"),
    [
        (SimpleUploadedFile("a.zip", b"nonsense"), "not a zip archive"),
        (SimpleUploadedFile("a.manifest", b"nonsense"), "a.manifest"),
    ],
)
def test_what_cannot_be_read_fails_with_the_reason(
    service: Service, upload: SimpleUploadedFile, sentence: str
) -> None:
    upload.seek(0)
    batch = ran(begun(service, upload))
    assert batch.status == "Failed" and sentence in batch.problem and batch.traceback == ""


def post(client: Client, service: Service, *uploads: SimpleUploadedFile, address: str = "") -> HttpResponse:
    return client.post(at("begin_batch", service), {"uploads": list(uploads), "address": address})


def test_the_page_refuses_what_it_cannot_take(service: Service, bob: Client, vera: Client) -> None:
    assert job.CHOOSE_ONE in html_of(post(bob, service))
    picture = SimpleUploadedFile("a.png", b"x")
    assert "neither a zip archive nor" in html_of(post(bob, service, picture))
    two = [SimpleUploadedFile(name, b"x") for name in ("a.zip", "b.zip")]
    answer = post(bob, service, *two)
    assert answer.status_code == 422 and "at most one zip archive" in html_of(answer)
    both = {"address": "/nowhere", "selection": "unlabeled"}
    answer = bob.post(at("begin_batch", service), both)  # what was chosen stays
    assert answer.status_code == 422 and job.CHOOSE_ONE in html_of(answer)
    assert '<option value="unlabeled" selected>' in html_of(answer)
    assert post(vera, service).status_code == 403 and not Batch.objects.exists()


def test_the_list_asks_for_itself_while_one_is_active(service: Service, bob: Client) -> None:
    assert post(bob, service, colours("red")).status_code == 303
    page = html_of(bob.get(at("service_batches", service)))
    assert 'hx-trigger="every 2s"' in page and "Waiting" in page
    ran(Batch.objects.get())
    page = html_of(bob.get(at("service_batches", service), headers={"HX-Request": "true"}))
    assert "hx-trigger" not in page and "results.csv" in page and "<html" not in page


def test_results_are_a_table_and_exemls_manifest(service: Service, bob: Client) -> None:
    batch = ran(begun(service, zipped(_61_dot_png=colour_picture("red"), b_dot_jpg=b"hello")))
    address = at("batch_download", service, batch.pk, "results.csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(bob.get(address).streaming_content).decode())))
    assert [row["result"] for row in rows] == ["SUCCESSFUL", "FAILED"]
    assert rows[0]["predicted_label"] == "red" and float(rows[0]["score"]) > 0.5
    content = b"".join(bob.get(address.replace(".csv", ".zip")).streaming_content)
    archive = zipfile.ZipFile(io.BytesIO(content))
    first, second = (json.loads(line) for line in archive.read("result.manifest").splitlines())
    assert first["result"] == "SUCCESSFUL" and second["error_message"]
    assert json.loads(archive.read(first["inference-loc"]))["predicted_label"] == "red"
    assert bob.get(address.replace("results.csv", "other")).status_code == 404


def test_names_that_spreadsheets_take_for_formulas_are_quoted(service: Service, bob: Client) -> None:
    batch = ran(begun(service, zipped(**{"=1+1_dot_png": colour_picture("red"), "@x_dot_jpg": b"hello"})))
    answer = bob.get(at("batch_download", service, batch.pk, "results.csv"))
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [row["source"] for row in rows] == ["'=1+1.png", "'@x.jpg"]

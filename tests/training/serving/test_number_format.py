"""The number format of a service: its version's default or another one; batches; the pages."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from tests.factories import make_user
from tests.pages import html_of
from tests.training.bundles import colour_picture, give_int8
from training.engine.bundle.bundle import Bundle
from training.engine.evaluation.evaluate import SamplePrediction
from training.jobs import record
from training.models import Service, TrainingVersion
from training.serving import answer, deploy
from training.serving.batches import job, results
from training.serving.download.onnx_export import other_model, readme
from training.versions.number_formats import number_format_in

PICTURE = colour_picture("red")


@pytest.fixture(autouse=True)
def _clean_batches() -> Iterator[None]:
    yield
    for folder in (settings.FILES_DIR / "batches", Path(settings.WORK_DIR) / "batches"):
        shutil.rmtree(folder, ignore_errors=True)


def running(version: TrainingVersion) -> Service:
    service, _ = deploy.deploy(version, make_user("alice"), 1)
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    assert service.status == "Running", service.failure_cause
    return service


def exact(version: TrainingVersion) -> Bundle:
    return Bundle.load(Path(default_storage.path(f"{version.folder}/bundle")), number_format="float32")


def best_score(service: Service) -> float:
    upload = SimpleUploadedFile("red.png", PICTURE)
    with answer.counted_call(service) as call:
        return call.answer([upload])[0].scores[0][1]


def zipped() -> SimpleUploadedFile:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("red.png", PICTURE)
    return SimpleUploadedFile("pictures.zip", out.getvalue())


def post(client: Client, service: Service, number_format: str) -> HttpResponse:
    address = reverse("change_number_format", args=[service.project_id, service.pk])
    return client.post(address, {"format-number_format": number_format})


def text(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html_of(response)))


def page_of(client: Client, service: Service) -> HttpResponse:
    return client.get(reverse("service_page", args=[service.project_id, service.pk]))


def test_a_service_answers_in_the_default_of_its_version_until_another_number_format_is_chosen(
    alice: Client, version: TrainingVersion
) -> None:
    small = give_int8(version, is_default=True)
    float_score, small_score = (float(one.predict_one(PICTURE).max()) for one in (exact(version), small))
    assert abs(float_score - small_score) > 0.01
    service = running(version)
    assert best_score(service) == small_score

    assert post(alice, service, "float32").status_code == 303
    service.refresh_from_db()
    assert best_score(service) == float_score
    assert service.events.first().message == "Answers in float32."

    assert post(alice, service, "").status_code == 303
    service.refresh_from_db()
    assert best_score(service) == small_score


def test_float32_is_the_default_where_int8_is_not(version: TrainingVersion) -> None:
    give_int8(version)
    service = running(version)
    assert best_score(service) == float(exact(version).predict_one(PICTURE).max())


def test_a_version_without_the_number_format_of_the_service_answers_in_its_own(
    version: TrainingVersion,
) -> None:
    service = running(version)
    service.number_format = "int8"
    assert number_format_in(service, version) == "float32"
    give_int8(version, is_default=True)
    service.number_format = "float32"
    assert number_format_in(service, version) == "float32"


@pytest.mark.parametrize("wrong", ["int4", "x" * 5000])
def test_an_unknown_number_format_is_refused_at_its_field(
    alice: Client, version: TrainingVersion, wrong: str
) -> None:
    give_int8(version)
    service = running(version)
    response = post(alice, service, wrong)
    assert response.status_code == 422
    assert "Choose one of the number formats of this version." in text(response)
    service.refresh_from_db()
    assert service.number_format == ""


def test_a_version_without_int8_does_not_take_it(alice: Client, version: TrainingVersion) -> None:
    service = running(version)
    assert post(alice, service, "int8").status_code == 422
    assert "Change the number format" not in text(page_of(alice, service))


def test_a_model_that_does_not_answer_in_the_number_format_leaves_the_service_as_it_was(
    alice: Client, version: TrainingVersion
) -> None:
    give_int8(version)
    service = running(version)
    file = f"{version.folder}/bundle/model.int8.onnx"
    Path(default_storage.path(file)).write_bytes(b"no network")

    response = post(alice, service, "int8")

    assert response.status_code == 422 and "The model cannot be loaded." in text(response)
    service.refresh_from_db()
    assert service.number_format == ""
    assert best_score(service) == float(exact(version).predict_one(PICTURE).max())


def test_only_managers_change_it(vera: Client, version: TrainingVersion) -> None:
    give_int8(version)
    service = running(version)
    assert post(vera, service, "int8").status_code == 403
    page = text(page_of(vera, service))
    assert "Number format float32" in page and "Change the number format" not in page


def test_the_service_page_says_the_number_format_and_the_figures_of_each(
    alice: Client, version: TrainingVersion
) -> None:
    give_int8(version, is_default=True)
    service = running(version)
    page = text(page_of(alice, service))
    assert "Number format INT8 (default of V001)" in page
    assert "Default of V001: INT8" in page
    assert "94.0 % right on 200 validation images, 40 ms for one image." in page
    assert "93.5 % right (p = 0.625 against float32), 196 of 200 answered alike, 22 ms." in page
    post(alice, service, "bfloat16")
    assert "Number format bfloat16" in text(page_of(alice, service))


def test_the_candidates_tab_has_a_row_for_each_number_format(vera: Client, version: TrainingVersion) -> None:
    give_int8(version)
    answers = [SamplePrediction(str(n), ("red",), ("red",), (0.9, 0.1), True, 0.5) for n in range(9)]
    record.record(version, ["red", "green"], answers, ())
    page = text(vera.get(reverse("version_candidates", args=[version.project_id, version.number])))
    assert "of the chosen model, on the same 200 validation images" in page
    assert "196 of 200 images answered as in float32; p = 0.625 for the accuracy. 93.5 %" in page
    assert "float32 default 94.0 %" in page


def test_a_batch_keeps_the_number_format_in_which_it_was_created(version: TrainingVersion) -> None:
    small = give_int8(version)
    service = running(version)
    deploy.set_number_format(service, "int8", make_user("bob"))
    batch = job.create_batch(service, [zipped()], "", make_user("bob"))
    deploy.set_number_format(service, "", make_user("bob"))
    job.run(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.number_format) == ("Completed", "int8")
    (line,) = results.read_results(batch)
    assert line["scores"][0] == ["red", round(float(small.predict_one(PICTURE).max()), 6)]


def test_the_readme_of_the_kit_says_what_the_other_model_is() -> None:
    text = readme("a", 3, "94 %", other_model(["model.onnx", "model.int8.onnx"]))
    assert "model.int8.onnx     the same model in INT8; model.onnx is in float32" in text
    text = readme("a", 3, "94 %", other_model(["model.onnx", "model.float32.onnx"]))
    assert "model.float32.onnx  the same model in float32; model.onnx is in INT8" in text
    assert readme("a", 3, "94 %", other_model(["model.onnx"])) == readme("a", 3, "94 %")

"""`POST /v1/infers/<service id>`: the answer, and every documented refusal."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from projects.formats.pictures.picture_formats import FORMAT_NAMES, FORMATS
from projects.models import Project
from projects.workspace import login_throttle
from tests.factories import make_user, make_version
from tests.training.bundles import colour_picture
from training.engine.config import Sample
from training.engine.evaluation.evaluate import evaluate
from training.models import Service, Status, TrainingVersion
from training.serving import deploy, tokens
from training.serving.calls import counters
from training.serving.inference import model_cache, predictor


def call(opened: tuple[Service, str], content: bytes | None = None, **headers: str) -> HttpResponse:
    """As a program calls: no session, no CSRF token."""
    service, token = opened
    body = {"images": SimpleUploadedFile("photo.png", content or colour_picture("red"))}
    client = Client(enforce_csrf_checks=True)
    return client.post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token} | headers)


def counts(service: Service) -> tuple[int, int]:
    counters.flush()
    service.refresh_from_db()
    return service.failed_calls, service.calls


def refused(response: HttpResponse, status: int, code: str) -> dict[str, str]:
    answer = response.json()
    assert (response.status_code, answer["error_code"]) == (status, code)
    assert answer["error_msg"].endswith(".") and answer["hint"]
    return answer


def test_the_answer_has_the_predicted_label_and_five_scores(opened) -> None:
    response = call(opened)
    answer = response.json()
    names = ["predicted_label", "predicted_labels", "scores", "is_known", "settings", "version"]
    names += ["request_id", "is_collected"]
    assert response.status_code == 200 and list(answer) == names
    assert (answer["version"], answer["is_known"], answer["is_collected"]) == ("V001", None, False)
    assert UUID(answer["request_id"])
    assert answer["predicted_label"] == "red" == answer["scores"][0][0]
    assert len(answer["scores"]) == 5 and all(isinstance(score, float) for _, score in answer["scores"])
    assert counts(opened[0]) == (0, 1)
    assert "no-store" in response["Cache-Control"]


def test_the_scores_equal_those_of_the_evaluation(opened) -> None:
    content = colour_picture("yellow", format="JPEG", size=(333, 222))
    bundle = model_cache.load_model(opened[0].training_version)
    scores = dict(zip(bundle.labels, bundle.predict([content])[0], strict=True))
    for label, score in call(opened, content).json()["scores"]:
        assert score == pytest.approx(scores[label], abs=5e-7)


def test_a_call_without_a_token(opened) -> None:
    response = Client().post(f"/v1/infers/{opened[0].pk}")
    refused(response, 401, "TOKEN_MISSING")
    assert response["WWW-Authenticate"]
    assert counts(opened[0]) == (0, 0), "strangers do not count"


@pytest.mark.parametrize("token", ["wrong", "é", " ", "x" * 5000])
def test_a_call_with_a_wrong_token(opened, token: str) -> None:
    assert call(opened, **{"X-Auth-Token": token}).status_code == 401
    assert counts(opened[0]) == (0, 0)


def test_the_old_token_stops_working_when_it_is_rotated(opened) -> None:
    service, old = opened
    new = tokens.rotate_token(service, service.tokens.get().pk, make_user("alice"))
    refused(call((service, old)), 401, "TOKEN_WRONG")
    assert call((service, new.plain)).status_code == 200


def test_each_token_works_until_it_is_revoked_and_says_when_it_was_used(opened) -> None:
    service, first = opened
    shop = tokens.create_token(service, "shop", make_user("alice"))
    assert call((service, shop.plain)).status_code == call((service, first)).status_code == 200
    counters.flush()
    assert all(token.last_used_at for token in service.tokens.all())
    tokens.revoke_token(service, service.tokens.get(name="shop").pk, make_user("alice"))
    refused(call((service, shop.plain)), 401, "TOKEN_WRONG")
    assert call((service, first)).status_code == 200


def test_wrong_tokens_are_counted_per_address_and_a_right_one_does_not_suffer(opened) -> None:
    most, _ = login_throttle.LIMITS[login_throttle.Kind.TOKENS]
    for _ in range(most):
        refused(call((opened[0], "wrong")), 401, "TOKEN_WRONG")
    answer = call((opened[0], "wrong"))
    refused(answer, 429, "TOO_MANY_WRONG_TOKENS")
    assert 0 < int(answer["Retry-After"]) <= 300
    assert call(opened).status_code == 200


def test_the_token_of_another_service_opens_nothing(opened) -> None:
    _, token = deploy.deploy(opened[0].training_version, make_user("alice"), 1)
    refused(call((opened[0], token.plain)), 401, "TOKEN_WRONG")


@pytest.mark.parametrize("address", ["c80ea3d5-6d3a-4e8b-b489-66037976df33", "x", "1 or 1=1"])
def test_an_unknown_service(opened, address: str) -> None:
    refused(
        Client().post(f"/v1/infers/{address}", headers={"X-Auth-Token": opened[1]}), 404, "SERVICE_NOT_FOUND"
    )


def test_a_deleted_service(opened) -> None:
    deploy.delete(opened[0], make_user("alice"))
    refused(call(opened), 404, "SERVICE_NOT_FOUND")


def test_a_service_of_a_deleted_project(opened) -> None:
    Project.objects.update(deleted_at=timezone.now())
    refused(call(opened), 404, "SERVICE_NOT_FOUND")


@pytest.mark.parametrize("verb", ["get", "put", "delete", "patch", "options", "head"])
def test_other_verbs(opened, verb: str) -> None:
    response = getattr(Client(), verb)(f"/v1/infers/{opened[0].pk}")
    assert response.status_code == 405 and response["Allow"] == "POST"


def test_a_stopped_service_and_one_started_again(opened) -> None:
    service, _ = opened
    deploy.stop(service, make_user("alice"))
    assert "Stopped" in refused(call(opened), 503, "SERVICE_NOT_RUNNING")["error_msg"]
    assert counts(service) == (1, 1)
    deploy.start(service, make_user("alice"))
    response = call(opened)
    refused(response, 503, "SERVICE_DEPLOYING")
    assert int(response["Retry-After"]) > 0
    deploy.bring_up(str(service.pk))
    assert call(opened).status_code == 200


def test_a_service_past_its_auto_stop_answers_no_more_even_before_the_sweep(opened) -> None:
    Service.objects.update(stops_at=timezone.now() - timedelta(seconds=1))
    assert "Stopped" in refused(call(opened), 503, "SERVICE_NOT_RUNNING")["error_msg"]


def test_a_body_that_is_not_multipart(opened) -> None:
    service, token = opened
    response = Client().post(
        f"/v1/infers/{service.pk}",
        colour_picture("red"),
        content_type="image/png",
        headers={"X-Auth-Token": token},
    )
    refused(response, 415, "NOT_MULTIPART")
    assert counts(service) == (1, 1)


@pytest.mark.parametrize("body", [b"nonsense", b"--x\r\nbroken", b"--x--\r\n"])
def test_a_broken_multipart_body(opened, body: bytes) -> None:
    service, token = opened
    response = Client().post(
        f"/v1/infers/{service.pk}",
        body,
        content_type="multipart/form-data; boundary=x",
        headers={"X-Auth-Token": token},
    )
    assert response.status_code == 400 and response.json()["error_code"] in {"IMAGE_MISSING", "BODY_BROKEN"}


def test_multipart_without_a_boundary(opened) -> None:
    service, token = opened
    response = Client().post(
        f"/v1/infers/{service.pk}",
        b"abc",
        content_type="multipart/form-data",
        headers={"X-Auth-Token": token},
    )
    refused(response, 400, "BODY_BROKEN")


def test_a_part_of_another_name(opened) -> None:
    service, token = opened
    body = {"file": SimpleUploadedFile("photo.png", colour_picture("red"))}
    response = Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token})
    refused(response, 400, "IMAGE_MISSING")


def several(opened, *contents: bytes) -> HttpResponse:
    service, token = opened
    body = {"images": [SimpleUploadedFile("photo.png", content) for content in contents]}
    return Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token})


def test_several_images_in_one_call_are_answered_in_order(opened) -> None:
    answer = several(opened, *(colour_picture(name) for name in ("red", "blue", "green"))).json()
    assert [result["predicted_label"] for result in answer["results"]] == ["red", "blue", "green"]
    assert answer["version"] == "V001" and len({result["request_id"] for result in answer["results"]}) == 3
    assert counts(opened[0]) == (0, 1)


def test_one_unreadable_image_of_several_is_named(opened) -> None:
    answer = several(opened, colour_picture("red"), b"hello")
    assert refused(answer, 400, "IMAGE_UNREADABLE")["error_msg"].startswith("Picture 2 of 2: ")


@pytest.mark.parametrize(("parts", "code"), [(33, "TOO_MANY_IMAGES"), (500, "BODY_BROKEN")])
def test_too_many_images_in_one_call(opened, parts: int, code: str) -> None:
    service, token = opened
    body = {"images": [SimpleUploadedFile("photo.png", b"x") for _ in range(parts)]}
    response = Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token})
    refused(response, 400, code)


@pytest.mark.parametrize(
    "content", [b"hello", colour_picture("red", format="PPM"), colour_picture("red")[:60]]
)
def test_a_file_that_is_no_picture(opened, content: bytes) -> None:
    problem = refused(call(opened, content), 400, "IMAGE_UNREADABLE")
    assert problem["hint"] == f"Send {FORMAT_NAMES} files."
    assert counts(opened[0]) == (1, 1)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_answered(opened, format: str) -> None:
    answer = call(opened, colour_picture("red", format=format))
    assert answer.status_code == 200 and answer.json()["predicted_label"] == "red"


def test_a_picture_that_is_too_large(opened, settings) -> None:
    settings.EXEML_MAX_IMAGE_MB = 1
    refused(call(opened, bytes(1024 * 1024 + 1)), 413, "IMAGE_TOO_LARGE")
    refused(call(opened, bytes(5 * 1024 * 1024)), 413, "IMAGE_TOO_LARGE")


def test_a_model_that_is_gone(opened, monkeypatch: pytest.MonkeyPatch, version: TrainingVersion) -> None:
    model_cache._cache.clear()
    monkeypatch.setattr(TrainingVersion, "folder", "training/nowhere")
    response = call(opened)
    refused(response, 503, "MODEL_UNAVAILABLE")
    assert response["Retry-After"]


def test_what_nobody_foresaw_is_answered_in_json_too(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "predict", lambda *_: 1 / 0)
    refused(call(opened), 500, "INTERNAL")
    assert counts(opened[0]) == (1, 1)


def test_a_call_asks_the_database_once(opened, django_assert_max_num_queries) -> None:
    with django_assert_max_num_queries(1):
        call(opened)


def test_a_fitted_model_answers_over_http_as_its_evaluation_did(
    project: Project, tiny_bundle: Path, tiny_samples: list[Sample]
) -> None:
    version = make_version(project, status=Status.COMPLETED)
    folder = Path(default_storage.path(version.folder))
    shutil.copytree(tiny_bundle, folder / "bundle")
    service, token = deploy.deploy(version, make_user("alice"), None)
    deploy.bring_up(str(service.pk))
    evaluation = evaluate(tiny_bundle, [sample for sample in tiny_samples if sample.split == "EVAL"])
    paths = {sample.id: sample.path for sample in tiny_samples}
    for prediction in evaluation.predictions:
        answer = call((service, token.plain), paths[prediction.id].read_bytes()).json()
        assert answer["predicted_label"] == prediction.predicted[0]
        scores = dict(zip(evaluation.labels, prediction.scores, strict=True))
        assert dict(answer["scores"]) == pytest.approx(scores, abs=5e-7)
    shutil.rmtree(folder)

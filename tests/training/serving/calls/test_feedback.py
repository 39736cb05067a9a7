"""The feedback loop: collected only where a team wants it, judged, counted, and taken into Label Data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.models import Image, Label
from tests.factories import make_user
from tests.pages import html_of
from tests.training.bundles import colour_picture
from training.engine.evaluation.metrics import wilson
from training.models import CollectedCall, Service, TrainingVersion
from training.serving import deploy
from training.serving.calls import feedback


@pytest.fixture
def opened(version: TrainingVersion) -> Iterator[tuple[Service, str]]:
    """Running and collecting."""
    service, token = deploy.deploy(version, make_user("alice"), 1)
    deploy.bring_up(str(service.pk))
    deploy.set_collecting(service, True, 30, make_user("alice"))
    for position, name in enumerate(("red", "green", "blue")):
        Label.objects.create(project=service.project, name=name, position=10 + position)
    yield service, token.plain
    shutil.rmtree(settings.FILES_DIR / "services", ignore_errors=True)


def call(opened: tuple[Service, str], colour: str = "red") -> dict[str, object]:
    service, token = opened
    body = {"images": SimpleUploadedFile("photo.png", colour_picture(colour))}
    response = Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token})
    assert response.status_code == 200
    return dict(response.json())


def tell(opened: tuple[Service, str], token: str | None = None, **said: object) -> HttpResponse:
    return Client(enforce_csrf_checks=True).post(
        f"/v1/infers/{opened[0].pk}/feedback",
        json.dumps(said),
        content_type="application/json",
        headers={"X-Auth-Token": token or opened[1]},
    )


def at(name: str, service: Service, *more: object) -> str:
    return reverse(name, args=[service.project_id, service.pk, *more])


def test_a_service_collects_only_when_told_and_says_so(opened) -> None:
    service = opened[0]
    answer = call(opened)
    kept = service.collected.get()
    assert answer["is_collected"] is True and answer["request_id"] == str(kept.pk)
    assert kept.predicted == ["red"] and kept.scores == answer["scores"]
    with default_storage.open(kept.file_name) as file:
        assert file.read() == colour_picture("red")
    deploy.set_collecting(service, False, 30, make_user("alice"))
    assert call(opened)["is_collected"] is False and service.collected.count() == 1


def test_of_a_call_that_is_refused_nothing_is_kept(opened) -> None:
    files = [SimpleUploadedFile("a.png", content) for content in (colour_picture("red"), b"hello")]
    address, headers = f"/v1/infers/{opened[0].pk}", {"X-Auth-Token": opened[1]}
    assert Client().post(address, {"images": files}, headers=headers).status_code == 400
    assert not CollectedCall.objects.exists()
    both = [SimpleUploadedFile("a.png", colour_picture(name)) for name in ("red", "blue")]
    answer = Client().post(address, {"images": both}, headers=headers).json()
    kept = {str(call.pk): call.predicted for call in CollectedCall.objects.all()}
    assert kept == {result["request_id"]: [result["predicted_label"]] for result in answer["results"]}
    assert all(result["is_collected"] for result in answer["results"])


def test_programs_judge_answers(opened) -> None:
    right, wrong = call(opened), call(opened, "blue")
    assert tell(opened, request_id=right["request_id"], is_right=True).json()["is_right"] is True
    said = tell(opened, request_id=wrong["request_id"], is_right=False, correct_label="green")
    assert said.status_code == 200
    collected = CollectedCall.objects.get(pk=wrong["request_id"])
    assert (collected.verdict, collected.true_labels, collected.feedback_by) == (
        "wrong",
        ["green"],
        "first token",
    )
    (live,) = feedback.live_accuracy(opened[0])
    assert live.judged == wilson(1, 2) and live.calls == 2
    tell(opened, request_id=wrong["request_id"], is_right=True)  # the last word counts
    assert feedback.live_accuracy(opened[0])[0].judged.hits == 2


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"is_right": True}, 400, "FEEDBACK_REFUSED"),
        ({"request_id": str(uuid4()), "is_right": True}, 404, "REQUEST_NOT_FOUND"),
        ({"request_id": "x", "is_right": True}, 400, "FEEDBACK_REFUSED"),
        ({"is_right": "yes"}, 400, "FEEDBACK_REFUSED"),
        ({"is_right": False, "correct_label": 3}, 400, "FEEDBACK_REFUSED"),
        ({"is_right": False, "correct_label": "red"}, 400, "FEEDBACK_REFUSED"),
        ({"is_right": False, "correct_labels": ["green", "blue"]}, 400, "FEEDBACK_REFUSED"),
        ({"is_right": False, "correct_label": "x" * 65}, 400, "FEEDBACK_REFUSED"),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused(opened, said: dict, status: int, code: str) -> None:
    answer = call(opened)
    if len(said) < 2 and "is_right" in said and said["is_right"] is True:
        pass  # no request id
    else:
        said = {"request_id": answer["request_id"]} | said
    response = tell(opened, **said)
    assert (response.status_code, response.json()["error_code"]) == (status, code)
    assert CollectedCall.objects.get().verdict == ""


def test_feedback_needs_a_token_and_json(opened) -> None:
    answer = call(opened)
    assert tell(opened, token="wrong", request_id=answer["request_id"], is_right=True).status_code == 401
    address = f"/v1/infers/{opened[0].pk}/feedback"
    headers = {"X-Auth-Token": opened[1]}
    assert Client().post(address, {"a": "b"}, headers=headers).status_code == 415
    for body in ("{", "[]", "\udcff".encode("utf-8", "surrogateescape")):
        broken = Client().post(address, body, content_type="application/json", headers=headers)
        assert (broken.status_code, broken.json()["error_code"]) == (400, "BODY_BROKEN")


def test_a_request_of_another_service_cannot_be_judged(opened) -> None:
    answer = call(opened)
    other, token = deploy.deploy(opened[0].training_version, make_user("alice"), 1)
    response = tell((other, token.plain), request_id=answer["request_id"], is_right=True)
    assert response.json()["error_code"] == "REQUEST_NOT_FOUND"


def test_the_queue_begins_with_wrong_then_unknown_then_unsure_and_ends_with_right(opened) -> None:
    service = opened[0]
    ids = [call(opened, name)["request_id"] for name in ("red", "green", "blue", "cyan", "yellow")]
    calls = CollectedCall.objects
    calls.filter(pk=ids[0]).update(verdict="right")
    calls.filter(pk=ids[1]).update(confidence=0.9)
    calls.filter(pk=ids[2]).update(is_known=False)
    calls.filter(pk=ids[3]).update(verdict="wrong", true_labels=["blue"])
    calls.filter(pk=ids[4]).update(confidence=0.2)
    order = [str(call.pk) for call in feedback.calls_to_review(service)]
    assert order == [ids[3], ids[2], ids[4], ids[1], ids[0]]


def test_pictures_become_images_with_what_was_said_and_where_they_came_from(opened, bob: Client) -> None:
    service = opened[0]
    judged, plain = call(opened, "red"), call(opened, "blue")
    tell(opened, request_id=judged["request_id"], is_right=False, correct_label="green")
    before = service.project.images.count()
    bob.post(at("take_collected", service), {"call": [judged["request_id"], plain["request_id"]]})
    images = list(Image.objects.filter(project=service.project).order_by("pk"))[before:]
    assert len(images) == 2
    origins = {str(image.collected_calls.get().pk): image for image in images}
    labels = {
        key: [mark.label.name for mark in origins[str(key)].annotations.all()]
        for key in (judged["request_id"], plain["request_id"])
    }
    assert labels == {judged["request_id"]: ["green"], plain["request_id"]: []}
    assert not feedback.calls_to_review(service).exists()
    page = html_of(bob.get(at("service_collected", service)))
    assert "2 images added to Label Data." in page
    history = reverse("image_history", args=[service.project_id, images[0].pk])
    page = html_of(bob.get(history))
    assert at("service_collected", service) in page and "Sent to the service" in page


def test_dismissed_pictures_leave_the_list(opened, bob: Client) -> None:
    service, answer = opened[0], call(opened)
    bob.post(at("take_collected", service), {"call": [answer["request_id"]], "operation": "dismiss"})
    assert not feedback.calls_to_review(service).exists() and service.collected.count() == 1
    assert not Image.objects.filter(collected_calls__isnull=False).exists()


def test_nonsense_is_no_picture(opened, bob: Client) -> None:
    answer = bob.post(at("take_collected", opened[0]), {"call": ["x", ""]}, follow=True)
    assert "Choose some images first." in html_of(answer)


def test_people_judge_on_the_page(opened, bob: Client) -> None:
    service, answer = opened[0], call(opened)
    judge = at("judge_call", service, answer["request_id"])
    assert bob.post(judge, {"verdict": "perhaps"}).status_code == 422
    again = bob.post(judge, {"verdict": "wrong", "label": "red"})
    assert again.status_code == 422 and "so the answer was right" in html_of(again)
    response = bob.post(judge, {"verdict": "wrong", "label": "blue"})
    assert "Judged wrong: blue" in html_of(response)
    collected = CollectedCall.objects.get()
    assert (collected.verdict, collected.true_labels, collected.feedback_by) == ("wrong", ["blue"], "bob")


def test_the_test_page_asks_whether_a_collected_answer_is_right(opened, bob: Client, vera: Client) -> None:
    body = {"image": SimpleUploadedFile("photo.png", colour_picture("blue"))}
    page = bob.post(at("predict_with_service", opened[0]), body, headers={"HX-Request": "true"})
    kept = CollectedCall.objects.get()
    assert f'id="judgement-{kept.pk}"' in html_of(page)
    body["image"].seek(0)
    seen = vera.post(at("predict_with_service", opened[0]), body, headers={"HX-Request": "true"})
    assert seen.status_code == 200 and "judgement-" not in html_of(seen), "Viewers judge nothing"


def test_old_pictures_go_and_those_of_deleted_services(opened) -> None:
    service = opened[0]
    old, new = call(opened), call(opened, "blue")
    CollectedCall.objects.filter(pk=old["request_id"]).update(at=timezone.now() - timedelta(days=31))
    name = CollectedCall.objects.get(pk=old["request_id"]).file_name
    assert feedback.forget_old() == 1
    assert not default_storage.exists(name) and str(service.collected.get().pk) == new["request_id"]
    deploy.delete(service, make_user("alice"))
    assert feedback.forget_old() == 1 and not CollectedCall.objects.exists()


@pytest.mark.parametrize("days", ["0", "366", "", "x"])
def test_the_days_have_a_range(opened, alice: Client, days: str) -> None:
    answer = alice.post(at("collect_requests", opened[0]), {"collects": "on", "keeps_days": days})
    assert answer.status_code == 422 and "whole number of days from 1 to 365" in html_of(answer)


def test_beginning_and_ending_to_collect_is_an_event(opened, alice: Client) -> None:
    service = opened[0]
    alice.post(at("collect_requests", service), {"keeps_days": "7"})
    service.refresh_from_db()
    assert (service.collects, service.keeps_days) == (False, 7)
    assert service.events.first().message == "Collects no requests."

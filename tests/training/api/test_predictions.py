"""Predictions with an access token: the answer of /v1/infers, counted; and feedback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from exeml_site.lib import storage
from tests.factories import make_user
from tests.projects.api.callers import ApiClient
from tests.training.bundles import colour_picture
from training.models import CallMinute, CollectedCall, Service
from training.serving import deploy
from training.serving.calls import counters

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def service(opened: tuple[Service, str]) -> Iterator[Service]:
    yield opened[0]
    counters.flush()


def picture(colour: str = "red") -> SimpleUploadedFile:
    return SimpleUploadedFile(f"{colour}.png", colour_picture(colour))


def path(service: Service, rest: str = "/predict") -> str:
    return f"/projects/{service.project_id}/services/{service.pk}{rest}"


def test_the_answer_is_that_of_infers_and_counts_as_a_call(opened: tuple[Service, str]) -> None:
    service, token = opened
    vera = ApiClient(make_user("vera"), ["deploy"])
    counters.flush()
    before = sum(CallMinute.objects.values_list("calls", flat=True))
    answer = vera.upload(path(service), [picture()], name="images").json()
    url = f"/v1/infers/{service.pk}"
    infers = Client().post(url, {"images": [picture()]}, headers={"X-Auth-Token": token}).json()
    assert answer["predicted_label"] == "red"
    assert answer | {"request_id": ""} == infers | {"request_id": ""}
    both = vera.upload(path(service), [picture("blue"), picture("green")], name="images").json()
    assert [row["predicted_label"] for row in both["results"]] == ["blue", "green"]
    counters.flush()
    assert sum(CallMinute.objects.values_list("calls", flat=True)) == before + 3


def test_a_call_without_an_answer_is_a_problem_with_the_reason(service: Service) -> None:
    api = ApiClient(make_user("vera"), ["deploy"])
    none = api.upload(path(service), [], name="images")
    text = api.upload(path(service), [SimpleUploadedFile("a.png", b"hello")], name="images")
    as_json = api.post(path(service), {"images": []})
    deploy.stop(service, make_user("alice"))
    stopped = api.upload(path(service), [picture()], name="images")
    kinds = [(answer.status_code, answer.json()["type"]) for answer in (none, text, as_json, stopped)]
    assert kinds == [
        (400, "urn:exeml:problem:image-missing"),
        (400, "urn:exeml:problem:image-unreadable"),
        (415, "urn:exeml:problem:not-multipart"),
        (503, "urn:exeml:problem:service-not-running"),
    ]
    assert stopped.json()["detail"] == "The service is Stopped."
    assert all(answer["Content-Type"] == "application/problem+json" for answer in (none, text, stopped))
    Service.objects.update(status=Service.Status.DEPLOYING)
    assert api.upload(path(service), [picture()], name="images")["Retry-After"] == "5"


def test_feedback_is_kept_and_wrong_feedback_is_said(service: Service) -> None:
    bob = ApiClient(make_user("bob"), ["deploy"])
    deploy.set_collecting(service, True, 7, make_user("alice"))
    answer = bob.upload(path(service), [picture()], name="images").json()
    assert answer["is_collected"]
    body = {"request_id": answer["request_id"], "is_right": False, "correct_labels": ["tulips"]}
    assert bob.post(path(service, "/feedback"), body).json() == body
    call = CollectedCall.objects.get()
    assert (call.verdict, call.true_labels, call.feedback_by) == ("wrong", ["tulips"], "bob")
    same = bob.post(path(service, "/feedback"), body | {"correct_labels": ["red"]})
    assert (same.status_code, same.json()["errors"][0]["field"]) == (422, "correct_labels")
    unknown = bob.post(path(service, "/feedback"), body | {"request_id": str(service.pk)})
    assert unknown.status_code == 404
    vera = ApiClient(make_user("vera"), ["deploy"])
    assert vera.post(path(service, "/feedback"), body).json()["type"] == "urn:exeml:problem:role-too-low"
    call.refresh_from_db()
    assert call.true_labels == ["tulips"] and call.feedback_at < timezone.now()


def collect(service: Service, **values: Any) -> CollectedCall:
    name = f"services/{service.pk}/{uuid4()}"
    storage.save_whole(name, colour_picture(values.pop("colour", "red")))
    return CollectedCall.objects.create(
        **{"confidence": 0.5, "predicted": ["red"], "scores": [["red", 0.5]], "is_known": True} | values,
        id=uuid4(),
        service=service,
        training_version=service.training_version,
        file_name=name,
    )


def test_calls_are_reviewed_page_by_page_in_the_order_of_the_page(
    service: Service, django_assert_num_queries: Any
) -> None:
    right = collect(service, verdict="right", confidence=0.1)
    sure, unsure = collect(service, confidence=0.9), collect(service, confidence=0.3)
    unknown, wrong = collect(service, is_known=False), collect(service, verdict="wrong", true_labels=["blue"])
    moment = timezone.now()
    same = sorted((collect(service, at=moment) for _ in range(3)), key=lambda call: call.pk)
    collect(service, dismissed_at=moment)
    vera, seen, cursor = ApiClient(make_user("vera"), ["read"]), [], ""
    while True:
        page = vera.get(path(service, f"/collected?limit=2&cursor={cursor}")).json()
        seen += page["items"]
        if not (cursor := page["next"]):
            break
    expected = [wrong, unknown, unsure, *same, sure, right]
    assert [row["id"] for row in seen] == [str(call.pk) for call in expected]
    assert (seen[0]["verdict"], seen[0]["correct_labels"], seen[1]["verdict"]) == ("wrong", ["blue"], None)
    assert (seen[0]["version_number"], seen[0]["scores"]) == (1, {"red": 0.5})
    for cursor in ("WzEsMl0", "WzEsMiwieCIsInkiXQ"):  # [1,2] and [1,2,"x","y"]
        assert vera.get(path(service, f"/collected?cursor={cursor}")).status_code == 422
    with django_assert_num_queries(5):
        vera.get(path(service, "/collected"))


def test_collected_images_are_seen_added_with_their_labels_and_dismissed(service: Service) -> None:
    bob, vera = ApiClient(make_user("bob")), ApiClient(make_user("vera"))
    label = service.project.labels.create(name="blue", position=90)
    call, other = collect(service, colour="blue"), collect(service)
    one = path(service, f"/collected/{call.pk}")
    assert vera.get(f"{one}/file").content == colour_picture("blue")
    thumbnail = vera.get(f"{one}/thumbnail")
    assert thumbnail["Content-Type"] == "image/webp" and thumbnail.content[8:12] == b"WEBP"
    body = {"request_id": str(call.pk), "is_right": False, "correct_labels": ["blue"]}
    assert bob.post(path(service, "/feedback"), body).status_code == 200
    chosen = {"call_ids": [str(call.pk)]}
    assert vera.post(path(service, "/collected/add"), chosen).status_code == 403
    added = bob.post(path(service, "/collected/add"), chosen).json()
    assert added == {"added_count": 1, "known_count": 0, "refused_count": 0}
    assert bob.post(path(service, "/collected/add"), chosen).json()["added_count"] == 0
    image = service.project.images.latest("pk")
    assert [row.label for row in image.annotations.all()] == [label]
    assert vera.get(one).json()["image_id"] == image.pk
    dismissed = bob.post(path(service, "/collected/dismiss"), {"call_ids": [str(other.pk)]}).json()
    assert dismissed == {"dismissed_count": 1} and vera.get(path(service, "/collected")).json()["items"] == []
    assert bob.post(path(service, "/collected/dismiss"), {"call_ids": []}).status_code == 422
    storage.delete_file(call.file_name)
    assert {vera.get(f"{one}/{kind}").status_code for kind in ("file", "thumbnail")} == {404}
    assert vera.get(path(service, f"/collected/{uuid4()}")).status_code == 404


def test_a_body_of_the_wrong_kind_is_a_problem(service: Service) -> None:
    api = ApiClient(make_user("vera"), ["deploy"])
    headers = {"Authorization": f"Bearer {api.token}"}
    url = f"/api/v1{path(service)}"
    damaged = Client().generic("POST", url, b"--x\r\n", "multipart/form-data", headers=headers)
    assert damaged.status_code == 400
    assert json.loads(damaged.content)["type"] == "urn:exeml:problem:body-broken"

"""What programs and web pages meet at the API before a prediction: chunks, slashes, origins, broken JSON."""

from __future__ import annotations

import json
from io import BytesIO
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpResponse
from django.test import Client

from tests.training.bundles import colour_picture
from training.models import CollectedCall, Service
from training.serving.call_request import largest_body
from training.serving.openapi import ERRORS

SHOP = "https://shop.example.org"
PREFLIGHT = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}


def multipart(*pictures: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    return b"".join(head + picture + b"\r\n" for picture in pictures) + b"--x--\r\n"


def send_in_chunks(
    opened: tuple[Service, str], body: bytes, path: str = "", kind: str = "", **server: object
) -> HttpResponse:
    """A call without Content-Length, as gunicorn hands it over: its input ends where the chunks end."""
    service, token = opened
    return Client().generic(
        "POST",
        f"/v1/infers/{service.pk}{path}",
        headers={"X-Auth-Token": token, "Transfer-Encoding": "chunked"},
        **{
            "CONTENT_TYPE": kind or "multipart/form-data; boundary=x",
            "CONTENT_LENGTH": "",
            "wsgi.input": BytesIO(body),
            "wsgi.input_terminated": True,
            **server,
        },
    )


def collected(service: Service) -> CollectedCall:
    name = f"services/{uuid4()}"
    default_storage.save(name, ContentFile(colour_picture("red")))
    return CollectedCall.objects.create(
        id=uuid4(),
        service=service,
        training_version=service.training_version,
        file_name=name,
        confidence=1,
        predicted=["red"],
    )


def code_of(response: HttpResponse) -> str:
    problem = response.json()
    assert problem["error_msg"].endswith(".") and problem["hint"]
    assert problem["error_code"] in ERRORS[response.status_code][1], "documented in OpenAPI"
    return str(problem["error_code"])


def test_a_body_in_chunks_is_predicted(opened) -> None:
    answer = send_in_chunks(opened, multipart(colour_picture("red")))
    assert answer.status_code == 200 and answer.json()["predicted_label"] == "red"


def test_several_pictures_in_chunks(opened) -> None:
    answer = send_in_chunks(opened, multipart(colour_picture("red"), colour_picture("blue")))
    assert [result["predicted_label"] for result in answer.json()["results"]] == ["red", "blue"]


def test_feedback_in_chunks(opened) -> None:
    call = collected(opened[0])
    body = json.dumps({"request_id": str(call.pk), "is_right": True}).encode()
    assert send_in_chunks(opened, body, "/feedback", "application/json").status_code == 200


def test_chunks_beyond_the_largest_body_are_refused(opened, settings) -> None:
    settings.EXEML_MAX_IMAGE_MB = 1
    too_much = multipart(bytes(largest_body()))
    assert code_of(send_in_chunks(opened, too_much)) == "IMAGE_TOO_LARGE"
    answer = send_in_chunks(opened, b" " * (5 * 1024 * 1024 + 1), "/feedback", "application/json")
    assert answer.status_code == 413


def test_a_server_that_does_not_find_the_end_of_chunks_asks_for_a_length(opened) -> None:
    answer = send_in_chunks(opened, multipart(colour_picture("red")), **{"wsgi.input_terminated": False})
    assert answer.status_code == 411 and code_of(answer) == "LENGTH_REQUIRED"


def test_pages_ask_for_a_length(alice: Client) -> None:
    answer = alice.post("/projects/new/", {"name": "flowers"}, headers={"Transfer-Encoding": "chunked"})
    assert answer.status_code == 411 and b"Content-Length" in answer.content


def test_a_slash_at_the_end_changes_nothing(opened) -> None:
    service, token = opened
    call = collected(service)
    headers = {"X-Auth-Token": token}
    body = multipart(colour_picture("red"))
    kind = "multipart/form-data; boundary=x"
    answer = Client().post(f"/v1/infers/{service.pk}/", body, content_type=kind, headers=headers)
    assert answer.json()["predicted_label"] == "red"
    verdict = {"request_id": str(call.pk), "is_right": True}
    url = f"/v1/infers/{service.pk}/feedback/"
    assert Client().post(url, verdict, content_type="application/json", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["infers", "infers/", "infers/x/y", "models", "infers/x/feedback/z"])
def test_an_address_that_is_not_there_answers_in_json(db: None, path: str) -> None:
    answer = Client().post(f"/v1/{path}")
    assert answer.status_code == 404 and code_of(answer) == "ADDRESS_NOT_FOUND"


def test_pages_of_no_website_may_call_at_first(opened) -> None:
    url = f"/v1/infers/{opened[0].pk}"
    answer = Client().options(url, headers=PREFLIGHT)
    assert answer.status_code == 403 and code_of(answer) == "ORIGIN_NOT_ALLOWED"
    assert "Access-Control-Allow-Origin" not in answer


def test_pages_of_an_allowed_website_may_call_and_read_errors(opened) -> None:
    service, token = opened
    Service.objects.update(allowed_origins=[SHOP])
    url = f"/v1/infers/{service.pk}"
    preflight = Client().options(url, headers=PREFLIGHT)
    assert preflight.status_code == 204 and preflight["Access-Control-Allow-Origin"] == SHOP
    assert "X-Auth-Token" in preflight["Access-Control-Allow-Headers"]
    body, kind = multipart(colour_picture("red")), "multipart/form-data; boundary=x"
    for headers, status in (({"X-Auth-Token": token}, 200), ({}, 401)):
        answer = Client().post(url, body, content_type=kind, headers={"Origin": SHOP, **headers})
        assert answer.status_code == status and answer["Access-Control-Allow-Origin"] == SHOP
        assert "Origin" in answer["Vary"] and "Access-Control-Allow-Credentials" not in answer


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://shop.example.org.evil.example", "null", "*"]
)
def test_pages_of_other_websites_read_nothing(opened, origin: str) -> None:
    service, token = opened
    Service.objects.update(allowed_origins=[SHOP])
    headers = {"Origin": origin, "X-Auth-Token": token}
    answer = Client().post(f"/v1/infers/{service.pk}", headers=headers)
    assert "Access-Control-Allow-Origin" not in answer


def test_the_list_of_one_service_is_not_that_of_another(opened) -> None:
    service, _ = opened
    other = Service.objects.create(
        project=service.project, training_version=service.training_version, allowed_origins=[SHOP]
    )
    assert Client().options(f"/v1/infers/{other.pk}", headers=PREFLIGHT).status_code == 204
    assert Client().options(f"/v1/infers/{service.pk}", headers=PREFLIGHT).status_code == 403


def save_origins(client: Client, service: Service, text: str) -> HttpResponse:
    url = f"/projects/{service.project_id}/deploy-service/{service.pk}/origins/"
    return client.post(url, {"cors-origins": text}, headers={"HX-Request": "true"})


def test_a_manager_lists_websites(opened, alice: Client) -> None:
    service, _ = opened
    answer = save_origins(alice, service, f" {SHOP}/\n\nHTTP://Localhost:3000 \n{SHOP}")
    service.refresh_from_db()
    assert answer.status_code == 200 and service.allowed_origins == [SHOP, "http://localhost:3000"]
    assert SHOP in answer.content.decode()
    assert "2 websites may call it." in service.events.first().message


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "null",
        "shop.example.org",
        f"{SHOP}/path",
        "https://a b",
        "https://é.org",
        "javascript:x",
        "\u202e",
    ],
)
def test_what_is_no_website_is_refused_at_the_field(opened, alice: Client, text: str) -> None:
    answer = save_origins(alice, opened[0], text)
    opened[0].refresh_from_db()
    assert answer.status_code == 422 and opened[0].allowed_origins == []
    assert "is not the address of a website" in answer.content.decode()


def test_a_labeler_changes_no_websites(opened, bob: Client) -> None:
    assert save_origins(bob, opened[0], SHOP).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b'{"request_id": "%s", "is_right": false, "correct_label": "\\ud800"}',
        b'{"request_id": "%s", "is_right": false, "correct_label": "a\\u0000"}',
        b'{"request_id": "%s", "is_right": false, "correct_labels": ["a"], "\\ud800": 1}',
        b'{"request_id": "%s", "is_right": false, "x": ' + b"[" * 100_000,
        b'{"request_id": "%s", "is_right": false, "x": 1e999}',
        b'{"request_id": "%s", "is_right": false, "x": NaN}',
        b'{"request_id": "%s", "is_right": false, "x": ' + b"9" * 5000 + b"}",
        b'\xff{"request_id": "%s"}',
    ],
    ids=range(8),
)
def test_feedback_that_cannot_be_stored_is_refused(opened, alice: Client, body: bytes) -> None:
    service, token = opened
    call = collected(service)
    answer = Client().post(
        f"/v1/infers/{service.pk}/feedback",
        body.replace(b"%s", str(call.pk).encode()),
        content_type="application/json",
        headers={"X-Auth-Token": token},
    )
    assert answer.status_code == 400 and code_of(answer) == "BODY_BROKEN"
    call.refresh_from_db()
    assert (call.verdict, call.true_labels) == ("", [])
    page = alice.get(f"/projects/{service.project_id}/deploy-service/{service.pk}/collected/")
    assert page.status_code == 200

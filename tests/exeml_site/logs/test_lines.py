"""Log lines as JSON, with the request, the person and the job that they belong to; the access log."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import django_rq
import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from redis import Redis
from rq import SimpleWorker

from exeml_site.logs.lines import JsonFormatter, TextFormatter
from exeml_site.logs.requests import RequestMiddleware, current_request, shown_path
from exeml_site.supervisor import console
from tests.factories import make_team, make_user

logger = logging.getLogger("tests.lines")


class Lines(logging.Handler):
    """Keeps each line as a formatter made it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def json_lines() -> Iterator[Lines]:
    handler, root = Lines(JsonFormatter()), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def answer(view: Any, **headers: Any) -> Any:
    return RequestMiddleware(view)(RequestFactory(**headers).get("/projects/?q=secret"))


def test_a_line_is_one_object_with_its_traceback(json_lines: Lines) -> None:
    try:
        raise ValueError("no\nnumber")
    except ValueError:
        logger.exception("could not read %s", "line 1\nline 2")
    (line,) = map(json.loads, json_lines.lines)
    assert "\n" not in json_lines.lines[0]
    assert line["message"] == "could not read line 1\nline 2" and line["level"] == "ERROR"
    assert line["logger"] == "tests.lines" and "ValueError: no\nnumber" in line["traceback"]
    assert line["time"].endswith("+00:00") and line["process"] == os.getpid()
    assert "request_id" not in line and "user_id" not in line


def test_every_line_of_a_request_has_its_id_and_person(json_lines: Lines) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request._cached_user = type("Person", (), {"pk": 7})()  # type: ignore[attr-defined]
        logger.warning("first")
        logging.getLogger("django").warning("second")
        return HttpResponse()

    response = answer(view)
    lines = [json.loads(line) for line in json_lines.lines]
    assert {line["request_id"] for line in lines} == {response.headers["X-Request-ID"]}
    assert [line["user_id"] for line in lines] == [7, 7]
    assert current_request() is None
    logger.warning("after the request")
    assert "request_id" not in json.loads(json_lines.lines[-1])


def test_a_line_for_people_ends_with_the_id() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        record = logging.LogRecord("a", logging.INFO, "", 1, "words", None, None)
        return HttpResponse(TextFormatter("%(levelname)s %(message)s").format(record))

    response = answer(view)
    assert response.content.decode() == f"INFO words [{response.headers['X-Request-ID']}]"


@pytest.mark.parametrize(
    ("proxies", "given", "is_kept"),
    [
        ("127.0.0.0/8", "abc-12345678", True),
        ("10.0.0.0/8", "abc-12345678", False),  # not from this address
        ("127.0.0.0/8", "short", False),
        ("127.0.0.0/8", "line\nbreak-12345", False),
        ("127.0.0.0/8", "x" * 65, False),
    ],
)
def test_the_id_of_a_trusted_proxy_is_kept(proxies: str, given: str, is_kept: bool) -> None:
    with override_settings(EXEML_TRUSTED_PROXIES=[ip_network(proxies)]):
        response = answer(lambda request: HttpResponse(), headers={"X-Request-ID": given})
    assert (response.headers["X-Request-ID"] == given) == is_kept
    assert len(response.headers["X-Request-ID"]) <= 64


def test_each_request_has_an_id_of_its_own() -> None:
    ids = {answer(lambda request: HttpResponse()).headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.django_db
def test_the_access_log_has_no_query_and_one_line_a_request(json_lines: Lines, settings: Any) -> None:
    settings.ACCESS_LOG = True
    logging.getLogger("exeml.access").setLevel(logging.INFO)
    make_team()
    client = Client()
    client.force_login(make_user("alice"))
    client.get("/projects/?q=hidden-words")
    client.get("/nowhere/")
    lines = [json.loads(line) for line in json_lines.lines]
    first, second = (line for line in lines if line["logger"] == "exeml.access")
    assert (first["method"], first["path"], first["status"]) == ("GET", "/projects/", 200)
    assert first["user_id"] == make_user("alice").pk and first["address"] == "127.0.0.1"
    assert isinstance(first["ms"], int) and "hidden-words" not in "".join(json_lines.lines)
    assert (second["path"], second["status"]) == ("/nowhere/", 404)


def test_secrets_in_a_path_are_not_shown() -> None:
    request = RequestFactory().get("/admin/rq/stats.json/very-secret-token/")
    request.resolver_match = type("Match", (), {"kwargs": {"token": "very-secret-token"}})()
    assert shown_path(request) == "/admin/rq/stats.json/…/"


@pytest.mark.slow
def test_a_line_of_a_job_has_its_id(json_lines: Lines, redis: Redis) -> None:
    queue = django_rq.get_queue("short")
    job = queue.enqueue(logger.warning, "from a job", job_id="sweep-1")
    SimpleWorker([queue], connection=queue.connection).work(burst=True)
    lines = [json.loads(line) for line in json_lines.lines if "from a job" in line]
    assert [line["job_id"] for line in lines] == [job.id] == ["sweep-1"]


def test_the_terminal_keeps_objects_and_makes_one_of_any_other_line(settings: Any, capsys: Any) -> None:
    settings.LOG_FORMAT = "json"
    console.print_line("web", '{"time": "x", "message": "of Django"}')
    console.print_line("redis", 'Ready to "accept" connections')
    console.print_block(["Password:", "abc"])
    web, redis, up = map(json.loads, capsys.readouterr().out.splitlines())
    assert web == {"program": "web", "time": "x", "message": "of Django"}
    assert (redis["program"], redis["message"]) == ("redis", 'Ready to "accept" connections')
    assert up["message"] == "Password:\nabc"


@pytest.mark.slow
def test_the_settings_choose_the_format(tmp_path: Any) -> None:
    code = "import django, logging; django.setup(); logging.getLogger('a').warning('%d %s', 1, 'x')\n"

    def run(form: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "exeml_site.settings",
            "EXEML_LOG_FORMAT": form,
        }
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "EXEML_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert json.loads(run("json").stderr)["message"] == "1 x"
    assert run("text").stderr == "WARNING a 1 x\n"
    assert "EXEML_LOG_FORMAT must be text or json, not 'xml'." in run("xml").stderr

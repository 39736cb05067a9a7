"""Which calls the client repeats, how often and when, against a server that fails first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import exeml
from exeml.core import calls
from tests.clients.scripted_server import Scripted, scripted

ROW = {"id": 3, "name": "flowers"}
BUSY = Scripted(503, {"title": "Away", "type": "urn:exeml:problem:unavailable"}, {"Retry-After": "0"})
BROKEN = Scripted(breaks=True)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "FIRST_PAUSE_S", 0.001)


def client_of(url: str) -> exeml.Client[exeml.Blocking]:
    return exeml.connect(url, "exeml_secret")


@pytest.mark.parametrize("failure", [BUSY, BROKEN, Scripted(502, "<h1>Bad Gateway</h1>"), Scripted(504)])
def test_reading_is_repeated_until_the_server_answers(failure: Scripted) -> None:
    with scripted(failure, failure, Scripted(body=ROW)) as server, client_of(server.url) as client:
        assert client.project(3).name == "flowers"
    assert [request.path for request in server.received] == ["/api/v1/projects/3"] * 3
    assert server.received[0].headers["authorization"] == "Bearer exeml_secret"


def test_asyncio_follows_the_same_rules() -> None:
    async def call(url: str) -> str:
        async with exeml.connect_async(url, "exeml_secret") as client:
            return (await client.project(3)).name

    with scripted(BUSY, BROKEN, Scripted(body=ROW)) as server:
        assert asyncio.run(call(server.url)) == "flowers"
    assert len(server.received) == 3


@pytest.mark.parametrize("failure", [BUSY, BROKEN])
def test_what_creates_is_repeated_with_the_same_key(failure: Scripted) -> None:
    with scripted(failure, Scripted(body=ROW)) as server, client_of(server.url) as client:
        client.create_project("flowers", team=7)
    first, second = server.received
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] != ""
    assert first.body == second.body


def test_two_creations_have_two_keys() -> None:
    with scripted(Scripted(body=ROW)) as server, client_of(server.url) as client:
        client.create_project("flowers", team=7)
        client.create_project("flowers", team=7)
    assert len({request.headers["idempotency-key"] for request in server.received}) == 2


@pytest.mark.parametrize("failure", [BUSY, BROKEN, Scripted(502)])
def test_a_change_that_may_have_happened_is_not_repeated(failure: Scripted) -> None:
    with scripted(Scripted(body=ROW), failure) as server, client_of(server.url) as client:
        project = client.project(3)
        with pytest.raises((exeml.Problem, exeml.ConnectionFailed)):
            project.delete()
    assert len(server.received) == 2


def test_a_call_that_was_refused_for_its_number_is_repeated_after_the_time_that_is_named() -> None:
    full = Scripted(429, {"title": "Too many"}, {"Retry-After": "1"})
    with scripted(Scripted(body=ROW), full, Scripted(204)) as server, client_of(server.url) as client:
        client.project(3).delete()
    _, refused, accepted = server.received
    assert accepted.at - refused.at >= 1


def test_a_call_that_is_still_under_way_is_asked_for_again() -> None:
    running = Scripted(409, {"type": "urn:exeml:problem:call-under-way", "title": "x"}, {"Retry-After": "0"})
    with scripted(running, Scripted(body=ROW)) as server, client_of(server.url) as client:
        assert client.create_project("flowers", team=7).id == 3


def test_a_conflict_is_not_repeated() -> None:
    conflict = Scripted(
        409, {"type": "urn:exeml:problem:conflict", "title": "Not possible now", "detail": "No."}
    )
    with scripted(conflict) as server, client_of(server.url) as client:
        with pytest.raises(exeml.Problem) as raised:
            client.create_project("flowers", team=7)
        assert (raised.value.status, raised.value.kind, raised.value.detail) == (409, "conflict", "No.")
    assert len(server.received) == 1


def test_after_the_last_attempt_the_error_is_raised() -> None:
    with scripted(BUSY) as server, client_of(server.url) as client:
        with pytest.raises(exeml.Problem) as raised:
            client.project(3)
        assert raised.value.status == 503 and raised.value.retry_after_s == 0
    assert len(server.received) == calls.ATTEMPTS


def test_a_server_that_is_not_there_is_named() -> None:
    with scripted(Scripted()) as server:
        url = server.url
    with pytest.raises(exeml.ConnectionFailed) as raised, client_of(url) as client:
        client.create_project("x", team=1)
    assert not raised.value.was_sent


def test_a_wait_of_hours_is_left_to_the_caller() -> None:
    full = Scripted(429, {"title": "Too many"}, {"Retry-After": "7200"})
    with scripted(full) as server, client_of(server.url) as client:
        with pytest.raises(exeml.Problem) as raised:
            client.project(3)
        assert raised.value.retry_after_s == 7200
    assert len(server.received) == 1


# --- Errors ---


def test_an_error_has_the_sentences_of_its_fields() -> None:
    body = {
        "type": "urn:exeml:problem:invalid-fields",
        "title": "Some values cannot be accepted",
        "status": 422,
        "detail": "Give a name.",
        "errors": [{"field": "name", "message": "Give a name."}],
    }
    refusal = Scripted(422, body, {"X-Request-ID": "abc"})
    with scripted(refusal) as server, pytest.raises(exeml.Problem) as raised:
        client_of(server.url).create_project("", team=7)
    problem = raised.value
    assert problem.title == "Some values cannot be accepted" and problem.request_id == "abc"
    assert problem.errors == (exeml.FieldError("name", "Give a name."),)
    assert str(problem) == "Some values cannot be accepted (422)\nname: Give a name."


@pytest.mark.parametrize("body", ["<html>not ours</html>", "[1]", ""])
def test_an_error_of_another_program_keeps_its_status(body: str) -> None:
    with scripted(Scripted(403, body)) as server, pytest.raises(exeml.Problem) as raised:
        client_of(server.url).project(3)
    assert raised.value.status == 403


def test_a_page_instead_of_an_answer_is_said() -> None:
    page = Scripted(200, "<html>Sign in</html>")
    with scripted(page) as server, pytest.raises(exeml.Problem, match="no JSON"):
        client_of(server.url).project(3)


def test_a_redirect_is_not_followed_with_the_token() -> None:
    elsewhere = Scripted(302, "", {"Location": "https://elsewhere.example/api/v1/projects/3"})
    with scripted(elsewhere) as server, pytest.raises(exeml.Problem, match=r"elsewhere\.example"):
        client_of(server.url).project(3)


# --- Lists ---


def page(*names: str, following: str | None) -> Scripted:
    items = [{"id": number, "name": name} for number, name in enumerate(names)]
    return Scripted(body={"items": items, "next": following})


def names_of(server: Any, **filters: Any) -> list[str]:
    with client_of(server.url) as client:
        return [project.name for project in client.projects(**filters)]


def test_a_list_is_read_page_by_page() -> None:
    with scripted(page("a", "b", following="c1"), BUSY, page("c", following=None)) as server:
        assert names_of(server, search="x") == ["a", "b", "c"]
    paths = [request.path for request in server.received]
    assert paths[0] == "/api/v1/projects?limit=500&search=x"
    assert paths[1] == paths[2] == "/api/v1/projects?limit=500&search=x&cursor=c1"


def test_a_list_with_a_limit_reads_no_further() -> None:
    project = Scripted(body=ROW)
    with scripted(project, page("a", "b", following="c1")) as server, client_of(server.url) as client:
        assert [image.name for image in client.project(3).images(limit=2)] == ["a", "b"]
    assert len(server.received) == 2


def test_asyncio_reads_lists_too() -> None:
    async def read(url: str) -> list[str]:
        async with exeml.connect_async(url, "exeml_secret") as client:
            return [project.name async for project in client.projects()]

    with scripted(page("a", following="c1"), page("b", following=None)) as server:
        assert asyncio.run(read(server.url)) == ["a", "b"]

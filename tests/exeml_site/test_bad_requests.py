"""What no view sees: text that cannot be stored, ids beyond a column, bodies without a length or UTF-8."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, RequestFactory

from exeml_site.bad_requests import Utf8Request
from tests.factories import make_project

FORM = "application/x-www-form-urlencoded"
IDS = [2**63, 10**18 * 10, int("9" * 30), 10**4299]


@pytest.mark.parametrize("query", ["q=a%00b", "%00=1", "label=%00", "until=%00"])
def test_a_zero_byte_in_an_address_is_refused(alice: Client, query: str) -> None:
    project = make_project(labels=1)
    answer = alice.get(f"/projects/{project.pk}/label-data/?{query}")
    assert answer.status_code == 400 and "a zero byte" in answer.content.decode()


@pytest.mark.parametrize("value", ["a%00b", "%00"])
def test_a_zero_byte_in_a_form_is_refused_and_nothing_is_written(alice: Client, value: str) -> None:
    project = make_project(labels=0)
    answer = alice.post(f"/projects/{project.pk}/labels/new/", f"name={value}", content_type=FORM)
    assert answer.status_code == 400 and not project.labels.exists()


def test_a_zero_byte_in_a_cookie_is_refused(client: Client) -> None:
    answer = client.get("/sign-in/", headers={"Cookie": 'sessionid="\\000' + "a" * 40 + '"'})
    assert answer.status_code == 400


@pytest.mark.parametrize("charset", ["rot13", "unicode_escape", "utf-7", "utf-16", "x"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", FORM])
def test_a_body_in_another_charset_is_refused(charset: str, kind: str, db: None) -> None:
    """The server itself makes the request: with rot13 Django raises before any middleware."""
    environ = RequestFactory()._base_environ(
        PATH_INFO="/sign-in/", REQUEST_METHOD="POST", CONTENT_TYPE=f"{kind}; charset={charset}",
        QUERY_STRING="next=%ff", CONTENT_LENGTH="3", **{"wsgi.input": BytesIO(b"a=1")},
    )  # fmt: skip
    handler, status = WSGIHandler(), list[str]()
    handler.request_class = Utf8Request
    b"".join(handler(environ, lambda line, headers: status.append(line)))
    assert status == ["400 Bad Request"]


def test_the_application_of_the_server_reads_utf8() -> None:
    """Read as text: importing the module starts threads."""
    from django.conf import settings

    text = (settings.BASE_DIR / "exeml_site" / "wsgi.py").read_text()
    assert f"{Utf8Request.__module__}.{Utf8Request.__name__}" in text


@pytest.mark.parametrize("number", IDS, ids=lambda number: f"10^{len(str(number)) - 1}")
def test_an_id_beyond_the_column_is_not_found(alice: Client, number: int) -> None:
    project = make_project(labels=1)
    for path in (
        f"{number}/label-data/",
        f"{project.pk}/images/{number}/file/",
        f"{project.pk}/train-model/{number}/",
    ):
        assert alice.get(f"/projects/{path}").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "until=9999-12-31", "since=0001-01-01", "until=2026-13-01", "above=1e999", "above=nan", "below=-0",
        f"label={2**63}", f"label={'9' * 5000}", "label=٣", "by=-1", f"show={2**63}", f"before={2**63 - 1}",
        "before=1e999~1&sort=confidence", f"only={'9' * 30},{2**63 - 1}&part=tiles",
    ],
)  # fmt: skip
def test_a_value_out_of_range_in_a_query_counts_as_not_said(alice: Client, query: str) -> None:
    project = make_project(labels=1, images=1)
    for page in ("label-data/", "label-data/grid/", "history/", "transfers/export/"):
        answer = alice.get(f"/projects/{project.pk}/{page}?tab=all&format=table&{query}")
        assert answer.status_code in (200, 422), page


@pytest.mark.parametrize("ids", ["9" * 30, str(2**63), "1,-1", "٣", "1e3", "1 2"])
def test_ids_of_a_form_are_refused_at_their_field(alice: Client, ids: str) -> None:
    project = make_project(labels=1, images=1)
    answer = alice.post(f"/projects/{project.pk}/images/delete/", {"images": ids})
    assert answer.status_code == 422 and "Select images on this page." in answer.content.decode()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[1e999]",
        "[NaN]",
        f"[{'9' * 5000}]",
        '["\\ud800"]',
        '["\\u0000"]',
        "\ud800",
    ],
    ids=range(8),
)
def test_json_in_a_form_is_refused_at_its_field(alice: Client, text: str) -> None:
    project = make_project(labels=1, images=1)
    body = "marks=" + quote(text.encode("utf-8", "surrogatepass"))
    url = f"/projects/{project.pk}/images/labels/"
    answer = alice.post(url, body, content_type=FORM)
    assert answer.status_code == 422 and "cannot be read" in answer.json()["error"]


@pytest.mark.parametrize(
    "path", ["queues/0/nothing/", "queues/99/", "workers/0/x/", "schedulers/9/", "queues/0/x/stop/"]
)
def test_unknown_jobs_of_the_queue_pages_are_not_found(admin_client: Client, redis: Any, path: str) -> None:
    for method in (admin_client.get, admin_client.post):
        assert method(f"/admin/rq/{path}").status_code in (302, 404, 405)


def test_a_request_larger_than_an_import_is_refused_unread(alice: Client, settings: Any) -> None:
    settings.EXEML_MAX_IMPORT_GB = 1
    answer = alice.post("/projects/new/", {"name": "x"}, **{"CONTENT_LENGTH": str(3 * 1024**3)})
    assert answer.status_code == 413 and "larger than 1 GB" in answer.content.decode()


def test_a_large_body_of_a_stranger_is_refused_unread(db: None) -> None:
    body = BytesIO(b"x" * 100)
    answer = Client().post("/sign-in/", **{"CONTENT_LENGTH": str(6 * 1024**2), "wsgi.input": body})
    assert answer.status_code == 413 and body.tell() == 0
    assert "without signing in" in answer.content.decode()


def test_a_form_without_its_csrf_token_is_refused_unread(alice: Client) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies["sessionid"] = alice.cookies["sessionid"].value
    body = BytesIO(b"name=a%00b")
    answer = client.post("/projects/new/", content_type=FORM, CONTENT_LENGTH="10", **{"wsgi.input": body})
    assert answer.status_code == 403 and body.tell() == 0

"""Error pages have the product's layout and say what to do."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.views.defaults import server_error

from exeml_site.lib.outages import parts
from tests.factories import make_project
from tests.pages import html_of


def test_an_address_that_is_not_there(alice: Client, client: Client) -> None:
    for visitor in (alice, client):
        answer = visitor.get("/nowhere/")
        assert answer.status_code == 404
        assert "Page not found" in html_of(answer) and "/projects/" in html_of(answer)


def test_a_role_that_is_too_low_is_named_with_the_way_to_a_manager(vera: Client) -> None:
    project = make_project()
    html = html_of(vera.get(f"/projects/{project.pk}/delete/"))
    assert "Your role in Greenhouse is Viewer." in html
    assert f"/teams/{project.team_id}/members/" in html


def test_a_form_without_its_token_is_told_to_reload(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post("/sign-in/", {"username": "alice", "password": "x"})
    assert answer.status_code == 403 and "This page has expired" in html_of(answer)


def test_without_redis_the_queues_page_says_so(
    admin_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    admin_client.raise_request_exception = False
    parts._reported_at.clear()
    answer = admin_client.get("/admin/rq/", headers={"Accept": "text/html"})
    assert answer.status_code == 503 and "The job queue is not responding" in html_of(answer)
    assert "check REDIS_URL" in html_of(answer) and int(answer["Retry-After"]) > 0
    assert "The queue does not respond" in caplog.text and "Traceback" not in caplog.text


def test_a_broken_page_needs_no_database_and_no_list_of_static_files(db: None, settings) -> None:
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "nowhere.Storage"}}
    with CaptureQueriesContext(connection) as queries:
        answer = server_error(RequestFactory().get("/"))
    assert answer.status_code == 500 and len(queries) == 0
    assert "Server error" in html_of(answer)

"""A page that asks again by itself outlives an outage."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.urls import reverse
from playwright.sync_api import expect

from tests.away import database_away
from tests.factories import make_project, make_version

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _connections_end_with_their_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thread of the server that still has one goes on answering."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)


def test_a_page_that_polls_says_once_that_it_gets_no_answer_and_goes_on(open_page: Any) -> None:
    page = open_page("alice")
    version = make_version(make_project(), 1, status="Running", progress={"message": "Trying heads"})
    page.goto(reverse("training_version", args=[version.project_id, version.number]))
    expect(page.get_by_text("Trying heads")).to_be_visible()
    warning = page.get_by_text("The server does not answer at the moment. This page goes on by itself.")
    with database_away():
        expect(warning).to_be_visible()
        for _ in range(2):  # further polls without an answer
            page.wait_for_event("response", lambda answer: answer.status == 503)
        expect(warning).to_have_count(1)
    type(version).objects.update(progress={"message": "Fine-tuning"})
    expect(page.get_by_text("Fine-tuning")).to_be_visible()
    expect(warning).to_have_count(0)


def test_a_page_of_an_outage_loads_again_by_itself(open_page: Any) -> None:
    page = open_page("alice")
    with database_away():
        page.goto("/projects/")
        expect(page.get_by_role("heading")).to_have_text("The database is busy or not responding")
        expect(page.get_by_role("link", name="Try again")).to_be_visible()
    page.get_by_role("heading", name="ExeML", exact=True).wait_for(timeout=20_000)

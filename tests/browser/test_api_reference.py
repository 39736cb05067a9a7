"""The page of the API in a real browser: its scripts are allowed, and an operation is tried out."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project, make_user
from tests.projects.api.callers import token_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_an_operation_is_tried_out_with_a_token(open_page: Any, width: int, scheme: str) -> None:
    make_project()
    page = open_page("alice", width=width, height=844, scheme=scheme)
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    page.goto(reverse("api_reference"))
    page.locator(".opblock-tag").first.wait_for(timeout=60_000)  # after 1.5 MB of scripts
    check_accessibility(page)
    page.get_by_role("button", name="Authorize").click()
    dialog = page.locator(".auth-container", has_text="AccessToken")
    check_accessibility(page)
    dialog.get_by_role("textbox").fill(token_of(make_user("alice"), ["read"]))
    dialog.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").first.click()
    page.locator("#operations-tag-Account").click()
    page.locator("#operations-Account-show_account .opblock-summary-control").click()
    page.wait_for_url("**#/Account/show_account")  # a link that can be sent to others
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table").get_by_text('"alice"').wait_for()
    check_accessibility(page)
    take_screenshot(page, f"api-reference-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not refused

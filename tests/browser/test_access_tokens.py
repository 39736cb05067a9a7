"""Access tokens and service accounts in a real browser: made, copied, revoked; the pages are accessible."""

from __future__ import annotations

from typing import Any

import pytest

from projects.models import AccessToken
from projects.sign_in import access_tokens
from tests.browser.chromium import check_accessibility
from tests.browser.test_accounts import look, sign_in
from tests.factories import PASSWORD, make_team, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_token_is_copied_and_a_reload_makes_no_second_one(open_page: Any, width: int, scheme: str) -> None:
    team, alice = make_team(), make_user("alice")
    for name, scopes, days in (
        ("notebook", ["label", "train"], 90),
        ("nightly import of the archive", [], None),
    ):
        access_tokens.create(alice, name, scopes, days=days, by=alice)
    page = open_page(width=width, scheme=scheme)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, "alice", PASSWORD)
    page.wait_for_url("**/projects/")
    page.goto(f"/teams/{team.pk}/members/")
    page.get_by_label("Name of the program").fill("nightly")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Name", exact=True).fill("cron")
    page.get_by_label("Upload and label").check()
    check_accessibility(page)
    look(page, f"new-token-{width}")
    page.get_by_role("button", name="Create token").click()
    page.get_by_role("button", name="Copy the token").click()
    page.get_by_text("Copied").wait_for()
    shown = page.locator("#token-text").inner_text().strip()
    assert page.evaluate("navigator.clipboard.readText()").strip() == shown
    check_accessibility(page)
    look(page, f"service-account-{width}")

    page.reload()
    assert shown not in page.content() and AccessToken.objects.filter(name="cron").count() == 1
    page.goto(f"/teams/{team.pk}/members/")
    check_accessibility(page)
    look(page, f"members-{width}")
    page.goto("/security/tokens/")
    page.get_by_label("Revoke notebook").click()
    check_accessibility(page)
    look(page, f"tokens-{width}")
    page.locator("details[open] button").click()
    page.get_by_text("Token “notebook” revoked.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

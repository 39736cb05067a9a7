"""A security key in a real browser: added, and used to sign in; the pages of security are accessible."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.chromium import check_accessibility
from tests.browser.test_accounts import look, sign_in
from tests.factories import PASSWORD, make_team

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

KEY = {
    "protocol": "ctap2",
    "transport": "usb",
    "hasResidentKey": False,
    "hasUserVerification": False,
    "automaticPresenceSimulation": True,
}


def copied(page: Any, name: str) -> str:
    """What the button of this name copies. It says so."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name=name).click()
    page.get_by_text("Copied").wait_for()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_the_link_of_an_invitation_is_copied(open_page: Any) -> None:
    team = make_team()
    page = open_page(width=390)
    sign_in(page, "alice", PASSWORD)
    page.wait_for_url("**/projects/")
    page.goto(f"/teams/{team.pk}/invite/")
    page.get_by_label("Role").select_option("Labeler")
    page.get_by_role("button", name="Invite").click()
    link = page.locator("#invitation-link")
    link.wait_for()
    check_accessibility(page)
    look(page, "invitation")
    assert copied(page, "Copy the link") == link.inner_text().strip()
    assert "/join/" in link.inner_text()


def test_a_security_key_is_added_and_signs_in(open_page: Any) -> None:
    make_team()
    page = open_page(width=390, scheme="dark")
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    sign_in(page, "alice", PASSWORD)
    page.wait_for_url("**/projects/")

    page.goto("/security/app/")
    check_accessibility(page)
    page.goto("/security/keys/add/")
    check_accessibility(page)
    page.get_by_label("Name").fill("Blue key")
    page.get_by_role("button", name="Add").click()
    page.get_by_text("Keep these codes").wait_for()
    check_accessibility(page)
    look(page, "recovery_codes")
    codes = page.locator("#recovery-codes li").all_inner_texts()
    assert len(codes) == 10 and copied(page, "Copy the codes") == "\n".join(codes)
    page.goto("/security/")
    page.get_by_text("Blue key", exact=True).wait_for()
    check_accessibility(page)
    look(page, "security")

    page.context.clear_cookies()
    sign_in(page, "alice", PASSWORD)
    page.wait_for_url("**/sign-in/second-factor/")
    check_accessibility(page)
    page.get_by_role("button", name="Use a security key").click()
    page.wait_for_url("**/projects/")

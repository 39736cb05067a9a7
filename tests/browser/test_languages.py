"""Languages in the browser: the menu, the texts of scripts, and no text cut at the width of a telephone."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.browser

CUT = """() => [...document.querySelectorAll("button, summary, label, h1, p, dt, dd, .button")]
  .filter((node) => node.checkVisibility() && !node.matches(".cut, .visually-hidden"))
  .filter((node) => !node.querySelector(".cut"))
  .filter((node) => node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).display !== "inline")
  .map((node) => node.textContent.trim())"""


def too_wide(page: Any) -> int:
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_a_visitor_chooses_german_and_nothing_is_cut_on_a_telephone(open_page: Any) -> None:
    page = open_page(width=390, height=844)
    page.goto("/sign-in/")
    page.locator("summary", has_text="English").click()
    page.get_by_role("button", name="Deutsch").click()
    page.get_by_role("heading", name="Anmelden").wait_for()
    assert page.locator("html").get_attribute("lang") == "de"
    assert (page.evaluate(CUT), too_wide(page)) == ([], 0)


def test_a_person_chooses_in_the_account_menu_and_scripts_follow(open_page: Any) -> None:
    page = open_page("alice", width=390, height=844)
    page.goto("/password/")
    page.locator("summary", has_text="alice").click()
    page.get_by_role("button", name="Deutsch").click()
    page.get_by_role("heading", name="Passwort ändern").wait_for()
    assert page.url.endswith("/password/")
    assert (page.evaluate(CUT), too_wide(page)) == ([], 0)
    page.locator("[data-keys-open]").click()
    page.get_by_role("heading", name="Tasten dieser Seite").wait_for()
    assert page.get_by_text("Zu den Meldungen").is_visible()

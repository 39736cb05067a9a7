"""A real Chromium for the browser tests: Debian's, driven by Playwright.

Without it the tests are skipped with the reason; with EXEML_REQUIRE=browser a missing one is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.making import make_team, make_user

# Playwright's sync API runs an event loop in this thread, which Django's guard takes for async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str:
    """The path of Chromium; skips, or fails where EXEML_REQUIRE asks for a browser."""
    found = os.environ.get("EXEML_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found:
        return found
    reason = "Chromium is not installed (Debian package chromium)."
    if "browser" in os.environ.get("EXEML_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all browser tests."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, live_server: Any) -> Iterator[Any]:
    """`open_page("alice")` is a fresh browser window, signed in; it fails the test on a script error."""
    contexts = []
    errors: list[str] = []

    def open_(person: str = "", width: int = 1440, height: int = 900, scheme: str = "light") -> Any:
        context = chromium.new_context(
            base_url=live_server.url, viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        if person:
            make_team()
            client = Client()
            client.force_login(make_user(person))
            cookie = client.cookies["sessionid"]
            context.add_cookies([{"name": "sessionid", "value": cookie.value, "url": live_server.url}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors, f"scripts failed: {errors}"


def check_accessibility(page: Any) -> None:
    """axe finds nothing on the page as it stands (WCAG 2.1 A and AA)."""
    from axe_playwright_python.sync_playwright import Axe

    result = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
    )
    assert result.violations_count == 0, result.generate_report()


def take_screenshot(page: Any, name: str) -> None:
    """Keep a picture of the page where EXEML_SCREENSHOTS names a folder."""
    folder = os.environ.get("EXEML_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))

"""A real Chromium for the browser tests: Debian's, driven by Playwright.

Without it the tests are skipped with the reason; with EXEML_REQUIRE=browser a missing one is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from projects.models import HiddenGuide
from tests.browser.chromium import CHROMIUM_ARGUMENTS, find_chromium
from tests.factories import make_team, make_user
from tests.training.fitted import fitted_bundle

# Playwright's sync API runs an event loop in this thread, which Django's guard takes for async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all browser tests."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def bundle(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted model of three textures."""
    return fitted_bundle(pytestconfig.cache.mkdir("fitted-bundle"), tmp_path_factory.mktemp("fit"))


@pytest.fixture
def open_page(chromium: Any, live_server: Any) -> Iterator[Any]:
    """`open_page("alice")` is a fresh browser window, signed in; it fails the test on a script error.

    The person has closed the guide of the first steps, unless `guide` is true.
    """
    contexts = []
    errors: list[str] = []

    def open_(
        person: str = "", width: int = 1440, height: int = 900, scheme: str = "light", guide: bool = False
    ) -> Any:
        context = chromium.new_context(
            base_url=live_server.url, viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        if person:
            make_team()
            client = Client()
            client.force_login(make_user(person))
            if not guide:
                HiddenGuide.objects.get_or_create(user=make_user(person))
            cookie = client.cookies["sessionid"]
            context.add_cookies([{"name": "sessionid", "value": cookie.value, "url": live_server.url}])
        page = context.new_page()
        page.set_default_timeout(30_000)  # for busy machines; nothing waits longer than it must
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors, f"scripts failed: {errors}"

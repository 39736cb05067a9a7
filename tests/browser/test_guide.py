"""The guide of the first steps in a real browser: in nobody's way, closed with a press, back through Help."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_the_guide_is_closed_and_opened_again(open_page: Any, width: int, scheme: str) -> None:
    project = make_project(images=5, with_files=True)
    page = open_page("alice", width=width, height=844, scheme=scheme, guide=True)
    page.goto(reverse("label_data", args=[project.pk]))
    strip = page.get_by_role("complementary", name="Guide")
    strip.get_by_text("Step 4 of 9").click()
    assert strip.get_by_text("Call the service").is_visible()
    check_accessibility(page)
    take_screenshot(page, f"guide-{width}-{scheme}")
    page.keyboard.press("Escape")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    strip.get_by_label("Hide the guide").click()
    strip.wait_for(state="detached")
    page.reload()
    assert strip.count() == 0
    page.get_by_label("Help", exact=True).click()
    page.get_by_role("button", name="Show the guide").click()
    strip.wait_for()
    strip.get_by_role("link", name="Train").click()
    page.get_by_text("Press Next, then Submit.").wait_for()

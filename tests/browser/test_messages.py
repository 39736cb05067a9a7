"""Messages in a real browser: they float, failures stay until closed, everything is reached by keys."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def top_of_main(page: Any) -> float:
    return float(page.locator("#main").bounding_box()["y"])


def save_description(page: Any, project_id: int) -> Any:
    """A form whose answer is a message of success; returns the message."""
    page.goto(reverse("edit_project", args=[project_id]))
    page.get_by_label("Description").fill("What we grow.")
    page.get_by_role("button", name="Save").click()
    message = page.locator("#messages .message")
    message.wait_for()
    return message


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_success_floats_and_vanishes(open_page: Any, width: int, scheme: str) -> None:
    project = make_project()
    page = open_page("alice", width=width, height=844, scheme=scheme)
    page.clock.install()
    page.goto("/projects/")
    top = top_of_main(page)

    message = save_description(page, project.pk)

    assert message.inner_text().strip() == "Description of flowers saved."
    assert page.locator("#messages [role=status] .message").count() == 1
    assert top_of_main(page) == top
    check_accessibility(page)
    take_screenshot(page, f"message-success-{width}-{scheme}")
    page.clock.fast_forward(9_500)
    message.wait_for(state="detached")


def test_a_success_stays_while_somebody_reads_it(open_page: Any) -> None:
    page = open_page("alice")
    page.clock.install()
    message = save_description(page, make_project().pk)
    message.hover()
    page.clock.fast_forward(9_500)
    assert message.is_visible()
    page.mouse.move(800, 300)
    page.clock.fast_forward(1_500)
    message.wait_for(state="detached")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_a_failure_stays_until_it_is_closed_by_key(open_page: Any, width: int, scheme: str) -> None:
    make_project()
    page = open_page("alice", width=width, height=844, scheme=scheme)
    page.clock.install()
    page.goto("/projects/")
    top = top_of_main(page)
    page.context.set_offline(True)
    page.get_by_label("Search by name or description").fill("x")
    message = page.locator("#messages [role=alert] .message")
    message.wait_for()
    page.context.set_offline(False)

    assert "No connection to the server." in message.inner_text()
    assert top_of_main(page) == top
    page.clock.fast_forward(9_500)
    assert message.is_visible()
    check_accessibility(page)
    take_screenshot(page, f"message-failure-{width}-{scheme}")
    page.keyboard.press("F8")
    page.keyboard.press("Enter")
    assert message.count() == 0
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_failure_is_seen_above_an_open_dialog(open_page: Any) -> None:
    make_project()
    page = open_page("alice")
    page.goto("/projects/")
    held: list[Any] = []
    page.route("**/projects/?*q=flow*", lambda route: held.append(route))
    with page.expect_request("**/projects/?*q=flow*"):
        page.get_by_label("Search by name or description").fill("flow")
    page.get_by_label("Help").click()
    page.get_by_role("button", name="Keys of this page").click()
    held[0].abort()
    message = page.locator("#messages [role=alert] .message")
    message.wait_for()
    take_screenshot(page, "message-above-dialog")

    box = message.bounding_box()
    assert page.locator("#keys-dialog").is_visible()
    colour = page.screenshot(clip={"x": box["x"] + 10, "y": box["y"] + 4, "width": 1, "height": 1})
    page.keyboard.press("Escape")
    assert page.screenshot(clip={"x": box["x"] + 10, "y": box["y"] + 4, "width": 1, "height": 1}) == colour

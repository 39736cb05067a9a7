"""Training Configuration in a real browser: suggestions to take, and errors that follow the typing."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def open_configuration(window: Any) -> Any:
    window.goto(reverse("configure_training", args=[make_project(images=10).pk]))
    return window


def test_a_corrected_field_turns_right_while_typing(open_page: Any) -> None:
    page = open_configuration(open_page("alice"))
    hours, ratio = (
        page.get_by_label("Max. Training Time"),
        page.get_by_label("Training and Validation Ratios"),
    )
    hours.fill("0.05")
    ratio.fill("8")
    page.get_by_role("button", name="Next").click()
    errors = page.locator(".field-error")
    errors.nth(1).wait_for()
    check_accessibility(page)
    take_screenshot(page, "configuration-errors")

    page.evaluate("window.neverReloaded = true")
    hours.fill("0.055")
    page.wait_for_timeout(600)
    assert errors.count() == 2
    hours.fill("0.5")
    page.locator("#id_max_training_hours_error .field-error").wait_for(state="detached")
    assert hours.get_attribute("aria-invalid") is None
    assert hours.get_attribute("aria-describedby") == "id_max_training_hours_helptext"
    assert ratio.get_attribute("aria-invalid") == "true"
    ratio.fill("0.8")
    page.locator("#id_training_ratio_error .field-error").wait_for(state="detached")
    assert errors.count() == 0
    assert page.evaluate("window.neverReloaded")


def test_a_taken_name_is_told_on_leaving_the_field(open_page: Any) -> None:
    page = open_configuration(open_page("alice"))
    name = page.get_by_label("Dataset Version")
    name.fill("not a name")
    page.keyboard.press("Tab")

    page.locator("#id_dataset_version_error .field-error").wait_for()
    assert name.get_attribute("aria-invalid") == "true"
    assert "id_dataset_version_error" in name.get_attribute("aria-describedby")


def test_minutes_typed_as_hours_are_mended_with_one_press(open_page: Any) -> None:
    page = open_configuration(open_page("alice", width=390, height=844, scheme="dark"))
    hours = page.get_by_label("Max. Training Time")
    hours.fill("6")
    page.get_by_text("Did you mean 6 minutes?").wait_for()
    take = page.get_by_role("button", name="Use 0.1 h")
    take.scroll_into_view_if_needed()
    check_accessibility(page)
    take_screenshot(page, "configuration-minutes-narrow")

    take.click()

    page.get_by_text("At most 6 minutes").wait_for()
    assert hours.input_value() == "0.1"
    assert page.get_by_text("Did you mean").count() == 0
    assert page.evaluate("document.activeElement.id") == "id_max_training_hours"

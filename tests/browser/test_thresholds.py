"""Thresholds in a real browser: sliders, live figures, saving, and a service's settings; narrow and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.urls import reverse

from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_user
from tests.training.views.test_thresholds import THRESHOLDS, address, evaluated
from training.models import TrainingVersion
from training.serving import deploy
from training.versions import answer_settings

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(params=[False, True], ids=["one label", "several labels"])
def version(request: pytest.FixtureRequest) -> Iterator[TrainingVersion]:
    version = evaluated(request.param)
    yield version
    shutil.rmtree(default_storage.path(version.folder))


def test_figures_follow_the_sliders_and_the_settings_are_saved(
    version: TrainingVersion, open_page: Any
) -> None:
    page, is_multi = open_page("alice", height=1400), version.project.is_multi_label
    page.goto(address(version))
    figures = page.locator("#answer-figures")
    figures.get_by_text("were chosen during training").wait_for()
    check_accessibility(page)
    name = "threshold:red" if is_multi else "min_confidence"
    number = page.locator(f"[name='{name}']")
    slider = page.locator("[data-share]", has=number).locator("input[type=range]")
    if is_multi:
        assert float(slider.input_value()) == float(number.input_value()) == THRESHOLDS[0]
    before = figures.inner_text()
    slider.focus()
    for _ in range(9):
        page.keyboard.press("ArrowRight" if is_multi else "PageUp")
    figures.get_by_text("chosen on these images look better").wait_for()
    assert number.input_value() == slider.input_value() and figures.inner_text() != before
    number.fill("1.5")
    figures.get_by_text("Enter a number from 0 to 1").wait_for()
    number.fill("0.45")
    figures.get_by_text("chosen on these images look better").wait_for()
    take_screenshot(page, f"thresholds-changed-{is_multi}")
    page.get_by_role("button", name="Save for this version").click()
    page.get_by_text("are saved. New services use them.").wait_for()
    assert page.locator(f"[name='{name}']").input_value() == "0.45"
    page.get_by_role("button", name="Reset to the model’s own").click()
    page.get_by_text("answers with the model’s own settings.").wait_for()


def test_the_page_and_the_dialog_of_a_service_look_right_everywhere(
    version: TrainingVersion, open_page: Any
) -> None:
    is_multi = version.project.is_multi_label
    own = answer_settings.settings_of(version)
    changed = type(own)({"red": 0.4} if is_multi else {}, 0.0 if is_multi else 0.35, 0.05)
    answer_settings.save(version, changed, make_user("alice"))
    service, _ = deploy.deploy(version, make_user("alice"), 1)
    for width, scheme in ((1440, "light"), (1440, "dark"), (390, "light")):
        page = open_page("alice", width=width, height=2600 if width == 1440 else 3800, scheme=scheme)
        page.goto(address(version))
        page.wait_for_load_state("networkidle")
        check_accessibility(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        take_screenshot(page, f"thresholds-{is_multi}-{width}-{scheme}")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(reverse("service_page", args=[version.project_id, service.pk]))
        page.get_by_role("button", name="Change the answer settings of V001").click()
        page.get_by_role("heading", name="Answer settings of V001").wait_for()
        check_accessibility(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        take_screenshot(page, f"service-settings-{is_multi}-{width}-{scheme}")

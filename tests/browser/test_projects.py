"""The project list in a real browser: it follows the trainings by itself."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from tests.browser.chromium import check_accessibility
from tests.factories import make_project, make_version
from training.models import Metric, Status, TrainingVersion

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_the_list_follows_a_training_and_leaves_everything_else(open_page: Any) -> None:
    version = make_version(make_project(), 1, Status.RUNNING)
    page = open_page("alice")
    page.goto("/projects/")
    page.get_by_label("Actions for flowers").click()
    page.evaluate("window.cell = document.querySelector('.column-name')")

    TrainingVersion.objects.update(status=Status.COMPLETED, finished_at=timezone.now())
    Metric.objects.create(training_version=version, name=Metric.Name.ACCURACY, value=0.9)

    page.get_by_text("V001 Completed").wait_for()
    assert page.locator(".column-accuracy strong").inner_text() == "90.0 %"
    assert page.get_by_role("link", name="Edit description").is_visible()
    assert page.evaluate("window.cell === document.querySelector('.column-name')")
    assert page.locator("#training-poll").get_attribute("hx-trigger") is None
    check_accessibility(page)

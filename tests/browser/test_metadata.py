"""Metadata in a real browser: a value for the selected images, the values of one, the page of columns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from projects.labels import metadata
from tests.browser.chromium import check_accessibility
from tests.browser.test_label_data import tiles, visit
from tests.factories import make_project, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def test_selected_images_get_a_value_and_one_image_shows_it(open_page: Open) -> None:
    project = make_project(labels=1, images=4, with_files=True)
    page = open_page("bob")
    visit(page, project)
    page.get_by_text("Metadata", exact=True).last.click()
    button = page.locator("[data-set-metadata]")
    assert button.is_disabled()
    tiles(page).nth(0).click()
    tiles(page).nth(2).click(modifiers=["Control"])
    page.fill("#metadata-column", "person")
    page.fill("#metadata-value", "anna")
    button.click()
    page.get_by_text("2 images: person set to “anna”.").wait_for()
    assert list(metadata.load_values(project.images.values_list("pk", flat=True)).values()) == 2 * [
        {"person": "anna"}
    ]  # fmt: skip
    tiles(page).nth(0).click()
    page.locator("#metadata-of-image").get_by_text("person: anna").click()
    page.wait_for_url(re.compile("metadata=person%3Aanna"))
    assert tiles(page).count() == 2
    check_accessibility(page)


def test_the_page_of_columns_is_accessible_and_never_splits_by_one_press(open_page: Open) -> None:
    project = make_project(labels=2, images=6)
    ids = list(project.images.values_list("pk", flat=True))
    for person in range(3):
        metadata.set_values(project, ids[person::3], {"person": f"p{person}"}, make_user("bob"))
    page = open_page("alice")
    page.goto(reverse("metadata_columns", args=[project.pk]))
    check_accessibility(page)
    page.get_by_role("button", name="Never split").click()
    page.get_by_text("“person” is now never split.").wait_for()
    page.get_by_role("button", name="Allow splitting").wait_for()

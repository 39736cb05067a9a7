"""Test images in a real browser: set aside on Label Data, undone, and asked about when a folder is added."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from projects.models import Project
from tests.browser.chromium import check_accessibility
from tests.factories import make_project, picture_bytes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def visit(page: Any, project: Project) -> None:
    page.goto(reverse("label_data", args=[project.pk]) + "?tab=all")


def count_tests(project: Project) -> int:
    return project.images.filter(split="TEST").count()


def test_selected_images_are_kept_as_test_images_and_undone(open_page: Open) -> None:
    project = make_project(labels=1, images=4, with_files=True)
    page = open_page("bob")
    visit(page, project)
    keep = page.locator("[data-split=TEST]")
    assert keep.is_disabled()
    page.locator("#tiles > .tile").nth(0).click()
    page.locator("#tiles > .tile").nth(1).click(modifiers=["Control"])
    keep.click()
    page.locator("#notice").get_by_text("2 images kept as test images.").wait_for()
    assert count_tests(project) == 2
    check_accessibility(page)
    page.locator("#notice [data-undo]").click()
    page.locator("#notice").get_by_text("Undone for 2 images.").wait_for()
    assert count_tests(project) == 0


@pytest.mark.parametrize(("is_kept", "tests"), [(True, 2), (False, 0)])
def test_a_folder_with_a_test_folder_asks(open_page: Open, tmp_path: Path, is_kept: bool, tests: int) -> None:
    project = make_project(labels=0, unlabeled=1, with_files=True)
    for number, folder in enumerate(("train", "train", "test", "test")):
        path = tmp_path / "photos" / folder / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(50 + number))
    page = open_page("bob")
    visit(page, project)
    with page.expect_file_chooser() as chooser:
        page.locator("[data-choose=folder]").first.click()
    chooser.value.set_files(tmp_path / "photos")
    dialog = page.locator("#upload-labels")
    dialog.get_by_text("Keep the 2 images in test folders as a test set.").wait_for()
    dialog.locator("[name=keep-tests]").set_checked(is_kept)
    with page.expect_response("**/images/labels/"):
        dialog.locator("button[value=upload]").click()
    assert count_tests(project) == tests
    assert project.images.filter(split="TRAIN").count() == 2

"""Uploads of Label Data in a real browser: what one counts, labels that are too long, images out of reach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from projects.models import Image
from tests.factories import make_project, picture_bytes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
TOO_LONG = "Use at most 64 characters; these are 65."


def choose(page: Any, *files: Path) -> None:
    page.locator("input[type=file][multiple]").first.set_input_files([str(file) for file in files])


def photo(folder: Path, name: str, seed: int) -> Path:
    (folder / name).write_bytes(picture_bytes(seed))
    return folder / name


def test_an_upload_does_not_count_the_refusals_of_the_one_before(open_page: Open, tmp_path: Path) -> None:
    page = open_page("bob")
    page.goto(reverse("label_data", args=[make_project(labels=0).pk]))
    (tmp_path / "broken.png").write_bytes(b"no image")

    choose(page, tmp_path / "broken.png")
    page.get_by_text("0 added · 1 refused").wait_for()
    choose(page, photo(tmp_path, "whole.png", 1))

    page.locator("#uploads-words").get_by_text("1 added", exact=True).wait_for()
    assert page.locator("#uploads-list").get_by_text("broken.png").count() == 0


def test_an_upload_waits_for_a_server_that_is_away_and_goes_on_by_itself(
    open_page: Open, tmp_path: Path
) -> None:
    page = open_page("bob")
    page.goto(reverse("label_data", args=[make_project(labels=0).pk]))
    answers = [lambda route: route.abort(), lambda route: route.fulfill(status=503)]

    def answer(route: Any) -> None:
        answers.pop(0)(route) if answers else route.continue_()

    page.route("**/images/upload/", answer)
    choose(page, photo(tmp_path, "whole.png", 1))

    page.locator("#uploads-words").get_by_text("Waiting for the server.").wait_for()
    page.locator("#uploads-words").get_by_text("1 added", exact=True).wait_for()
    assert answers == [] and Image.objects.count() == 1


def test_an_upload_that_waits_can_be_stopped_and_retried(open_page: Open, tmp_path: Path) -> None:
    page = open_page("bob")
    page.goto(reverse("label_data", args=[make_project(labels=0).pk]))
    page.route("**/images/upload/", lambda route: route.fulfill(status=503, headers={"Retry-After": "60"}))
    choose(page, photo(tmp_path, "whole.png", 1))
    page.locator("#uploads-words").get_by_text("Waiting for the server.").wait_for()

    page.locator("[data-uploads-stop]").click()
    page.get_by_text("1 not uploaded").wait_for()
    page.unroute_all()
    page.locator("[data-uploads-retry]").click()

    page.locator("#uploads-words").get_by_text("1 added", exact=True).wait_for()


def test_a_label_for_an_upload_that_is_too_long_is_refused_with_a_sentence(
    open_page: Open, tmp_path: Path
) -> None:
    page = open_page("bob")
    page.goto(reverse("label_data", args=[make_project(labels=0).pk]))
    choose(page, photo(tmp_path, "whole.png", 1))
    page.get_by_text("1 added", exact=True).wait_for()

    page.locator("#uploads-label").fill("x" * 65)
    page.locator("#uploads-label").press("Enter")

    assert page.locator("#uploads-labeled").inner_text() == TOO_LONG
    assert page.locator("#uploads-label").input_value() == "x" * 65
    page.locator("#uploads-label").fill("daisy")
    page.locator("#uploads-label").press("Enter")
    page.get_by_text("Labeling all as “daisy”").wait_for()


def test_a_label_for_images_that_is_too_long_is_refused_at_its_field(open_page: Open) -> None:
    page = open_page("bob")
    page.goto(reverse("label_data", args=[make_project(labels=0, unlabeled=1, with_files=True).pk]))
    page.locator("#tiles > .tile").first.click()

    page.locator("#label-input").fill("x" * 65)
    page.locator("#label-input").press("Enter")
    page.locator("#label-form .pane-ok").click()

    page.locator("#label-error").get_by_text("Use 1 to 64 characters").wait_for()
    assert Image.objects.get().is_labeled is False


def test_the_next_image_that_cannot_be_loaded_is_said(open_page: Open) -> None:
    page = open_page("bob")
    page.goto(reverse("label_data", args=[make_project(labels=0, unlabeled=9, with_files=True).pk]))
    page.locator("#tiles > .tile").first.dblclick()
    page.locator("#enlarge[open]").wait_for()

    page.route("**/file/**", lambda route: route.abort())
    for _ in range(5):
        page.locator("[data-enlarge-step='1']").click()
    page.locator("#enlarge-problem").wait_for()

    page.unroute_all()
    page.locator("[data-enlarge-step='1']").click()
    page.wait_for_function("() => document.getElementById('enlarge-image').naturalWidth > 0")

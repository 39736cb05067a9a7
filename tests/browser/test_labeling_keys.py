"""Fast labeling in a real browser: keys, rubber band, suggestions, a lost connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from projects.models import Image, Project
from tests.browser.chromium import check_accessibility, take_screenshot
from tests.browser.test_label_data import labels_of, selected, tiles, visit, wait_for_counts
from tests.factories import make_project

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def suggest(project: Project, place: slice, label: str, confidence: float) -> None:
    """Write suggestions for unlabeled images, newest first, as the worker does."""
    ids = list(project.images.unlabeled().values_list("pk", flat=True)[place])
    found = project.labels.get(name=label)
    Image.objects.filter(pk__in=ids).update(suggestion=found, confidence=confidence, acquisition_score=0.5)


def wait_for_confirm(page: Any, count: int) -> None:
    """Wait until the button Confirm names this number."""
    number = "Number(document.querySelector('[data-confirm-count]').textContent.replaceAll(',', ''))"
    page.wait_for_function(f"count => {number} === count", arg=count)


def wait_for_tiles(page: Any, count: int) -> None:
    page.wait_for_function("n => document.querySelectorAll('.tile').length === n", arg=count)
    page.wait_for_load_state()  # before that a newly opened page does not listen to keys


def test_letters_are_keys_of_labels_beyond_the_tenth(open_page: Open) -> None:
    project = make_project(labels=12, images=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    tiles(page).nth(0).click()
    page.keyboard.press("b")
    wait_for_counts(page, 2, 1, 3, 0)
    assert labels_of(project)["label-11"] == 1
    page.keyboard.press("0")
    wait_for_counts(page, 1, 2, 3, 0)
    assert labels_of(project)["label-9"] == 1


def test_a_frame_drawn_with_the_mouse_selects_what_it_touches(open_page: Open) -> None:
    project = make_project(labels=0, unlabeled=12, with_files=True)
    page = open_page("bob")
    visit(page, project)
    first, third = tiles(page).nth(0).bounding_box(), tiles(page).nth(2).bounding_box()
    page.mouse.move(first["x"] + 40, first["y"] + 40)
    page.mouse.down()
    page.mouse.move(third["x"] + 10, third["y"] + 60, steps=5)
    page.mouse.up()
    assert selected(page) == [0, 1, 2]
    sixth = tiles(page).nth(5).bounding_box()
    page.keyboard.down("Control")
    page.mouse.move(sixth["x"] + 10, sixth["y"] + 10)
    page.mouse.down()
    page.mouse.move(sixth["x"] + 40, sixth["y"] + 40, steps=3)
    page.mouse.up()
    page.keyboard.up("Control")
    assert selected(page) == [0, 1, 2, 5]


def test_all_that_match_are_labeled_also_those_on_other_pages(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=130)
    page = open_page("bob")
    visit(page, project)
    page.get_by_role("button", name="Select all 130").click()
    assert page.locator("#pane h2").inner_text() == "Add label – 130 images selected"
    page.keyboard.press("1")
    question = page.locator("#question-dialog")
    question.get_by_role("heading", name="Label 130 images as “label-0”?").wait_for()
    check_accessibility(page)
    take_screenshot(page, "label-data-question")
    question.get_by_role("button", name="Cancel").click()
    assert labels_of(project) == {"label-0": 0}
    page.keyboard.press("1")
    question.get_by_role("button", name="Label").click()
    wait_for_counts(page, 0, 130, 130, 0)
    page.get_by_text("130 images labeled “label-0”.").wait_for()


def test_plus_confirms_what_was_seen_and_minus_refuses_what_is_selected(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=6, with_files=True)
    suggest(project, slice(0, 4), "label-0", 0.97)
    suggest(project, slice(4, 6), "label-1", 0.8)
    page = open_page("bob")
    visit(page, project, "?tab=suggested")
    assert page.locator(".group").count() == 2
    tiles(page).nth(5).click()
    page.keyboard.press("-")
    wait_for_tiles(page, 5)
    page.get_by_text("Suggestion rejected for 1 image").wait_for()
    page.keyboard.press("Escape")
    wait_for_confirm(page, 5)
    page.keyboard.press("+")
    wait_for_counts(page, 1, 7, 8, 0)
    page.get_by_text("5 images confirmed.").wait_for()
    assert labels_of(project) == {"label-0": 5, "label-1": 2}
    page.keyboard.press("Control+z")
    wait_for_counts(page, 6, 2, 8, 0)
    page.keyboard.press("Control+y")
    wait_for_counts(page, 1, 7, 8, 0)


def test_all_sure_ones_of_a_group_are_confirmed_by_one_button(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=120)
    suggest(project, slice(0, 110), "label-0", 0.97)
    suggest(project, slice(110, 120), "label-0", 0.6)
    page = open_page("bob")
    visit(page, project, "?tab=suggested")
    page.get_by_role("button", name="Confirm 110 (≥ 95 %)").click()
    question = page.locator("#question-dialog")
    question.get_by_role("heading", name="Label 110 images as “label-0”?").wait_for()
    assert "Not seen yet: " in question.inner_text()
    page.keyboard.press("Enter")
    wait_for_counts(page, 10, 112, 122, 0)
    assert labels_of(project)["label-0"] == 111


def test_the_grid_goes_on_as_one_scrolls_and_back_returns_to_the_place(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=350)
    page = open_page("bob")
    visit(page, project)
    wait_for_tiles(page, 100)
    page.mouse.move(600, 500)
    for count in (200, 300, 350):
        page.evaluate("document.querySelector('.middle').scrollTop = 1e6")
        wait_for_tiles(page, count)
    assert page.locator(".tiles-next").count() == 0
    page.wait_for_url("**before=*")
    place = page.url
    page.goto(reverse("project_list"))
    page.go_back()
    page.wait_for_url(place)
    assert tiles(page).count() <= 150  # the page that was visible, and the next one


def test_actions_wait_in_the_browser_while_the_connection_is_lost(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=4, with_files=True)
    page = open_page("bob")
    visit(page, project)
    page.context.set_offline(True)
    tiles(page).nth(0).click()
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.get_by_text("2 changes wait in this browser").wait_for()
    wait_for_tiles(page, 2)
    take_screenshot(page, "label-data-offline")
    assert labels_of(project) == {"label-0": 0, "label-1": 0}
    page.context.set_offline(False)
    wait_for_counts(page, 2, 2, 4, 0)
    assert not page.locator("#connection").is_visible()
    assert labels_of(project) == {"label-0": 1, "label-1": 1}


def test_actions_survive_a_reload_before_they_could_be_sent(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    page.route("**/label-data/label/*", lambda route: route.abort())
    tiles(page).nth(0).click()
    page.keyboard.press("1")
    page.get_by_text("1 change waits in this browser").wait_for()
    page.unroute("**/label-data/label/*")
    page.reload()
    wait_for_counts(page, 2, 1, 3, 0)
    assert labels_of(project) == {"label-0": 1}


def test_an_ended_session_keeps_the_actions_and_says_so(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    cookies = page.context.cookies()
    page.context.clear_cookies()
    tiles(page).nth(0).click()
    page.keyboard.press("1")
    page.get_by_text("You are signed out. 1 change waits").wait_for()
    assert labels_of(project) == {"label-0": 0}
    page.context.add_cookies(cookies)
    wait_for_counts(page, 2, 1, 3, 0)


def test_the_enlarged_image_zooms_and_says_what_is_suggested(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=2, with_files=True)
    suggest(project, slice(0, 2), "label-0", 0.91)
    page = open_page("bob")
    visit(page, project, "?tab=suggested")
    tiles(page).nth(0).dblclick()
    page.get_by_text("Looks like label-0, 91 %").wait_for()
    page.keyboard.press("PageUp")
    assert "scale(1.5)" in page.locator("#enlarge-image").get_attribute("style")
    page.get_by_role("button", name="Smaller").click()
    assert "scale" not in (page.locator("#enlarge-image").get_attribute("style") or "")
    page.keyboard.press("+")
    page.get_by_text("1 image confirmed.").wait_for()
    page.get_by_role("link", name="History of the image").click()
    page.get_by_role("heading", name="picture-0.png").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_where_suggestions_wait(open_page: Open, scheme: str) -> None:
    project = make_project(labels=5, images=1, unlabeled=20, with_files=True)
    for place in range(5):
        suggest(project, slice(4 * place, 4 * place + 4), f"label-{place}", 0.99 - 0.1 * place)
    for width, height in ((1440, 900), (390, 844)):
        page = open_page("bob", width=width, height=height, scheme=scheme)
        visit(page, project, "?tab=suggested")
        tiles(page).nth(1).click()
        check_accessibility(page)
        take_screenshot(page, f"label-data-suggested-{width}-{scheme}")
        page.get_by_text("Filter", exact=True).click()
        check_accessibility(page)
        take_screenshot(page, f"label-data-filter-{width}-{scheme}")
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0
        visit(page, project, "../check/")
        check_accessibility(page)
        take_screenshot(page, f"data-check-{width}-{scheme}")
        visit(page, project, "../history/")
        check_accessibility(page)
        take_screenshot(page, f"history-{width}-{scheme}")


def test_suspected_labels_are_taken_or_kept_by_one_key(open_page: Open) -> None:
    project = make_project(labels=2, images=3, with_files=True)
    other = project.labels.get(name="label-1")
    some = list(project.images.filter(annotations__label__name="label-0").values_list("pk", flat=True)[:2])
    Image.objects.filter(pk__in=some).update(suspected_label=other, suspected_confidence=0.93)
    page = open_page("bob")
    visit(page, project, "../check/")
    page.get_by_role("link", name="Show 2 images").click()
    wait_for_tiles(page, 2)
    tiles(page).nth(0).click()
    page.keyboard.press("-")
    wait_for_tiles(page, 1)
    page.get_by_text("Suggestion rejected for 1 image").wait_for()
    page.keyboard.press("+")
    page.get_by_text("1 image confirmed.").wait_for()
    assert labels_of(project) == {"label-0": 2, "label-1": 4}

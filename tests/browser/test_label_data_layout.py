"""The Label Data page: where the images begin, what the keys reach at once, what stays in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from projects.labels import actions
from projects.models import Embedding, Image
from tests.browser.chromium import check_accessibility, take_screenshot
from tests.browser.test_label_data import (
    labels_of,
    selected,
    tiles,
    visit,
    wait_for_counts,
    wait_for_focus,
)
from tests.factories import make_project, make_user, picture_bytes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]
NO_SIDEWAYS_SCROLL = "document.documentElement.scrollWidth <= innerWidth"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_images_begin_on_the_upper_third_of_a_phone(open_page: Open, scheme: str) -> None:
    project = make_project(labels=12, images=1, unlabeled=12, with_files=True)
    page = open_page("alice", width=390, height=844, scheme=scheme)
    visit(page, project)
    assert tiles(page).first.bounding_box()["y"] <= 250
    assert page.evaluate(NO_SIDEWAYS_SCROLL)
    check_accessibility(page)

    page.get_by_role("button", name="Labels", exact=True).click()
    page.get_by_text("All Labels (12)").wait_for()
    assert not page.get_by_role("link", name="Check Data").is_visible()
    page.get_by_role("button", name="More pages").click()
    assert not page.get_by_text("All Labels (12)").is_visible()
    for name in ("Check Data", "Import & Export", "Dataset Versions", "History", "People"):
        assert page.get_by_role("link", name=name).is_visible()
    assert page.evaluate(NO_SIDEWAYS_SCROLL)
    check_accessibility(page)
    take_screenshot(page, f"label-data-more-narrow-{scheme}")
    page.get_by_role("button", name="More pages").click()
    assert not page.get_by_role("link", name="Check Data").is_visible()


def test_the_pages_about_the_data_have_words(open_page: Open) -> None:
    project = make_project(labels=60, images=0, unlabeled=3, with_files=True)
    page = open_page("vera")
    visit(page, project)
    for name in ("Check Data", "Import & Export", "Dataset Versions", "History", "People"):
        link = page.get_by_role("link", name=name)
        assert name in link.inner_text()
        assert link.bounding_box()["y"] < 900  # in sight below however many labels
    page.get_by_role("link", name="History").click()
    page.wait_for_url("**/history/")


@pytest.mark.parametrize("key", ["Tab", "ArrowRight", "ArrowDown", "Home"])
def test_one_key_leads_to_the_images(open_page: Open, key: str) -> None:
    project = make_project(labels=1, images=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    page.keyboard.press(key)
    wait_for_focus(page, 0)
    page.keyboard.press("1")
    wait_for_counts(page, 2, 1, 3, 0)


def test_keys_lead_to_the_images_after_another_tab_was_chosen(open_page: Open) -> None:
    project = make_project(labels=1, images=2, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    page.get_by_role("link", name="All 5").click()
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 5")
    page.keyboard.press("ArrowRight")
    wait_for_focus(page, 0)


def test_enlarging_fills_the_screen_with_the_whole_picture(open_page: Open) -> None:
    project = make_project(labels=1, images=1, with_files=True)  # 32 × 24 pixels
    page = open_page("bob")
    visit(page, project)
    tiles(page).first.dblclick()
    picture = page.locator("#enlarge-image")
    picture.evaluate("image => image.decode()")
    box, frame = picture.bounding_box(), page.locator(".enlarge-picture").bounding_box()
    assert page.locator("#enlarge").bounding_box() == {"x": 0, "y": 0, "width": 1440, "height": 900}
    assert abs(box["width"] / box["height"] - 32 / 24) < 0.01
    assert abs(box["height"] - frame["height"]) < 1 and frame["height"] > 750
    check_accessibility(page)


def test_without_a_connection_the_next_picture_is_its_thumbnail_and_says_so(open_page: Open) -> None:
    project = make_project(labels=1, images=4, with_files=True)
    page = open_page("bob")
    visit(page, project)
    page.route("**/file/", lambda route: route.abort())
    tiles(page).first.dblclick()
    page.locator("#enlarge").get_by_role("button", name="Next").click()
    page.get_by_text("The image could not be loaded. This is its thumbnail.").wait_for()
    second = tiles(page).nth(1).locator("img").evaluate("image => image.src")
    page.wait_for_function(
        "src => { const one = document.getElementById('enlarge-image');"
        " return one.src === src && one.complete && one.naturalWidth > 0 }",
        arg=second,
    )
    page.unroute("**/file/")
    page.evaluate("dispatchEvent(new Event('online'))")
    page.get_by_text("The image could not be loaded.").wait_for(state="hidden")


def test_the_loaded_images_and_the_place_stay_after_an_action(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=500, with_files=True)
    page = open_page("bob")
    visit(page, project, "?tab=all")
    page.mouse.move(600, 500)
    for number in (200, 300, 400, 500):
        page.evaluate("document.querySelector('.middle').scrollTop = 1e6")
        page.wait_for_function(f"() => document.querySelectorAll('.tile').length >= {number}")
    chosen = tiles(page).nth(330)
    chosen.scroll_into_view_if_needed()
    chosen.click()
    image = int(chosen.get_attribute("data-image"))
    before = chosen.bounding_box()
    top = page.evaluate("document.querySelector('.middle').scrollTop")
    page.keyboard.press("2")
    wait_for_counts(page, 499, 1, 500, 0)
    assert Image.objects.get(pk=image).is_labeled
    assert tiles(page).count() == 500
    page.locator(f"#image-{image} .tile-chip", has_text="label-1").wait_for()
    after = page.locator(f"#image-{image}").bounding_box()
    assert abs(after["y"] - before["y"]) <= 2
    assert abs(page.evaluate("document.querySelector('.middle').scrollTop") - top) <= 2
    order = page.evaluate("[...document.querySelectorAll('.tile')].map(tile => Number(tile.dataset.image))")
    assert order == sorted(order, reverse=True) and len(set(order)) == 500
    page.keyboard.press("Control+z")
    wait_for_counts(page, 500, 0, 500, 0)
    page.locator(f"#image-{image} .tile-chip").wait_for(state="detached")
    assert tiles(page).count() == 500


def test_an_action_on_images_of_several_pages_changes_all_their_tiles(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=220, with_files=True)
    page = open_page("bob")
    visit(page, project, "?tab=all")
    page.mouse.move(600, 500)
    for number in (200, 220):
        page.evaluate("document.querySelector('.middle').scrollTop = 1e6")
        page.wait_for_function(f"() => document.querySelectorAll('.tile').length >= {number}")
    page.evaluate("document.querySelector('.middle').scrollTop = 0")
    tiles(page).nth(3).click()
    page.evaluate("document.querySelector('.middle').scrollTop = 1e6")
    tiles(page).nth(215).click(modifiers=["Control"])
    page.keyboard.press("1")
    wait_for_counts(page, 218, 2, 220, 0)
    page.wait_for_function(
        "() => [3, 215].every(at => document.querySelectorAll('.tile')[at].querySelector('.tile-chip'))"
    )
    assert tiles(page).count() == 220
    assert labels_of(project) == {"label-0": 2}


def test_review_asks_for_labeled_images_and_the_label_buttons_for_a_selection(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=1, with_files=True)
    page = open_page("alice")
    visit(page, project, "?tab=all")
    button = page.locator("#quick").get_by_role("button", name="label-1")
    review = page.locator("[data-review=confirm]")
    assert button.is_disabled() and review.is_disabled()
    tiles(page).nth(0).click()  # the newest image has no label
    assert selected(page) == [0]
    assert button.is_enabled() and review.is_disabled()
    tiles(page).nth(1).click(modifiers=["Control"])
    assert review.is_enabled()
    page.keyboard.press("Escape")
    tiles(page).nth(0).click()
    button.click()
    wait_for_counts(page, 0, 3, 3, 0)


def test_refusals_of_an_earlier_upload_are_not_counted_again(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=1, images=1, with_files=True)
    page = open_page("bob")
    visit(page, project)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "good.png").write_bytes(picture_bytes(77))
    page.locator("#files").set_input_files(tmp_path / "broken.png")
    page.get_by_text("0 added · 1 refused").wait_for()
    page.locator("#files").set_input_files(tmp_path / "good.png")
    page.get_by_text("1 added", exact=True).wait_for()


def test_an_empty_tab_of_suggestions_says_how_far_they_are(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=4, with_files=True)
    page = open_page("bob")
    page.goto(reverse("label_data", args=[project.pk]) + "?tab=suggested")
    page.get_by_text("Once two labels have two images each,").wait_for()
    for label in project.labels.all():
        image = project.images.filter(is_labeled=False).last()
        actions.apply(project, [image.pk], add=[label.name], by=make_user("bob"))
    first = project.images.first()
    Embedding.objects.create(image=first, network="n", sketch=b"", vector=b"")
    page.reload()
    page.get_by_text("1 of 6 images analyzed.").wait_for()
    Embedding.objects.bulk_create(
        Embedding(image=image, network="n", sketch=b"", vector=b"")
        for image in project.images.exclude(pk=first.pk)
    )
    page.get_by_text("All images are analyzed.").wait_for()
    Image.objects.filter(project=project, is_labeled=False).update(
        suggestion=project.labels.first(), confidence=0.9
    )
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 2")

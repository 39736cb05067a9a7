"""Nothing is labeled unseen and nothing typed is lost: confirming, Back, a slow line, two windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from projects.labels import actions
from projects.models import Annotation, Image, Project
from tests.browser.chromium import check_accessibility, take_screenshot
from tests.browser.test_label_data import labels_of, selected, tiles, visit, wait_for_counts
from tests.browser.test_labeling_keys import suggest, wait_for_confirm, wait_for_tiles
from tests.browser.test_people import ask_now
from tests.factories import make_image, make_project, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def on_screen(page: Any) -> list[int]:
    """Ids of the images that at least half of is on the screen."""
    return page.evaluate(
        """() => {
            const frame = document.querySelector('.middle').getBoundingClientRect();
            const bottom = box => Math.min(box.bottom, frame.bottom, innerHeight);
            const isShown = box => bottom(box) - Math.max(box.top, frame.top) >= box.height / 2;
            const tiles = [...document.querySelectorAll('.tile')];
            const shown = tiles.filter(tile => isShown(tile.getBoundingClientRect()));
            return shown.map(tile => Number(tile.dataset.image));
        }"""
    )


def slow_down(page: Any, latency_ms: int) -> None:
    devtools = page.context.new_cdp_session(page)
    speed = {"offline": False, "latency": latency_ms, "downloadThroughput": -1, "uploadThroughput": -1}
    devtools.send("Network.emulateNetworkConditions", speed)


def labeled_ids(project: Project) -> set[int]:
    return set(Annotation.objects.filter(image__project=project).values_list("image", flat=True))


def wait_for_labels(page: Any, *names: str) -> None:
    page.wait_for_function(
        "names => [...document.querySelectorAll('.label-row')].map(r => r.dataset.name).join() === names",
        arg=",".join(names),
    )


# --- confirming ---


def test_plus_confirms_only_images_that_were_on_the_screen(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=150)
    suggest(project, slice(0, 150), "label-0", 0.9)
    page = open_page("bob")
    visit(page, project, "?tab=suggested")
    wait_for_tiles(page, 100)
    shown = on_screen(page)
    number = len(shown)
    wait_for_confirm(page, number)
    take_screenshot(page, "label-data-confirm")
    assert number < 100
    page.keyboard.press("+")
    page.get_by_text(f"{number} images confirmed.").wait_for()
    assert labeled_ids(project) == set(shown)
    second = len(on_screen(page))
    wait_for_confirm(page, second)
    page.get_by_role("button", name=f"Confirm {second}").click()
    wait_for_counts(page, 150 - number - second, number + second, 150, 0)


def test_what_was_scrolled_past_counts_and_what_is_loaded_ahead_does_not(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=350)
    suggest(project, slice(0, 350), "label-0", 0.9)
    page = open_page("bob")
    visit(page, project, "?tab=suggested")
    wait_for_tiles(page, 100)
    seen: set[int] = set()
    page.mouse.move(600, 500)
    for _ in range(4):
        seen |= set(on_screen(page))
        wait_for_confirm(page, len(seen))
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(100)
    seen |= set(on_screen(page))
    wait_for_confirm(page, len(seen))
    number = len(seen)
    assert number < tiles(page).count()
    page.keyboard.press("+")
    page.get_by_text(f"{number} images confirmed.").wait_for()
    assert labeled_ids(project) == seen


def test_a_suggestion_that_changed_since_it_was_seen_is_left_and_reported(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=6, with_files=True)
    suggest(project, slice(0, 6), "label-0", 0.9)
    page = open_page("bob")
    visit(page, project, "?tab=suggested")
    wait_for_confirm(page, 6)
    changed = [tiles(page).nth(place).get_attribute("data-image") for place in (1, 2)]
    Image.objects.filter(pk__in=changed).update(suggestion=project.labels.get(name="label-1"))
    other = tiles(page).nth(4).get_attribute("data-image")
    actions.apply(project, [int(other)], add=["label-1"], by=make_user("alice"))
    page.keyboard.press("+")
    left = "3 of 6 were skipped. Suggestion changed: 2; labeled or deleted meanwhile: 1."
    page.get_by_text(f"3 images confirmed. {left}").wait_for()
    take_screenshot(page, "label-data-left")
    assert labels_of(project) == {"label-0": 3, "label-1": 1}
    wait_for_confirm(page, 2)  # seen again with their new suggestion
    page.keyboard.press("+")
    page.get_by_text("2 images confirmed.").wait_for()
    assert labels_of(project) == {"label-0": 3, "label-1": 3}


def test_the_current_page_is_selected_as_far_as_it_was_seen(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=150)
    page = open_page("bob")
    visit(page, project)
    wait_for_tiles(page, 100)
    shown = on_screen(page)
    page.get_by_role("button", name=f"Select Current Page {len(shown)}").click()
    assert len(selected(page)) == len(shown) < 100
    page.keyboard.press("1")
    wait_for_counts(page, 150 - len(shown), len(shown), 150, 0)
    assert labeled_ids(project) == set(shown)


# --- labels of the pane ---


def test_a_click_on_a_label_gives_it_to_the_selection_and_the_funnel_filters(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=4, with_files=True)
    page = open_page("bob")
    visit(page, project, "?tab=unlabeled")
    tiles(page).nth(0).click()
    tiles(page).nth(2).click(modifiers=["Shift"])
    page.locator(".label-row", has_text="label-1").locator(".label-name").click()
    wait_for_counts(page, 1, 5, 6, 0)
    assert labels_of(project) == {"label-0": 1, "label-1": 4} and "label=" not in page.url

    tiles(page).nth(0).click()
    page.locator(".label-row", has_text="label-0").locator(".label-name").focus()
    page.keyboard.press("Enter")
    wait_for_counts(page, 0, 6, 6, 0)
    assert labels_of(project) == {"label-0": 2, "label-1": 4}

    page.get_by_role("link", name="Show the images labeled label-1").click()
    wait_for_tiles(page, 4)
    assert f"label={project.labels.get(name='label-1').pk}" in page.url
    check_accessibility(page)
    take_screenshot(page, "label-data-filtered")
    page.locator(".label-row", has_text="label-0").locator(".label-name").click()  # nothing is selected
    wait_for_tiles(page, 2)


def test_the_pane_has_a_button_for_each_label(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=4, with_files=True)
    page = open_page("bob")
    visit(page, project)
    assert page.locator("#quick").get_by_role("button", name="label-1").is_disabled()
    tiles(page).nth(1).click()
    take_screenshot(page, "label-data-pane")
    page.locator("#quick").get_by_role("button", name="label-1").click()
    wait_for_counts(page, 3, 1, 4, 0)
    assert labels_of(project) == {"label-0": 0, "label-1": 1}


# --- a slow line ---


def test_six_labels_typed_on_a_slow_line_are_six_labels(open_page: Open) -> None:
    project = make_project(labels=0, unlabeled=2, with_files=True)
    page = open_page("bob")
    visit(page, project)
    slow_down(page, 1200)
    page.get_by_label("New label").click()
    for name in ("ant", "bee", "cat", "dog", "elk", "fox"):
        page.keyboard.type(name, delay=40)
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
    wait_for_labels(page, "ant", "bee", "cat", "dog", "elk", "fox")
    assert page.get_by_label("New label").input_value() == ""
    assert set(labels_of(project)) == {"ant", "bee", "cat", "dog", "elk", "fox"}
    assert page.evaluate("document.activeElement.id") == "new-label"


def test_a_refused_label_is_said_while_the_next_ones_are_added(open_page: Open) -> None:
    project = make_project(labels=0, unlabeled=2, with_files=True)
    page = open_page("bob")
    visit(page, project)
    slow_down(page, 300)
    page.get_by_label("New label").click()
    for name in ("ant", "a/b", "cat"):
        page.keyboard.type(name)
        page.keyboard.press("Enter")
    page.get_by_text("“a/b” was not added. Use 1 to 64 characters without slash").wait_for()
    wait_for_labels(page, "ant", "cat")
    page.keyboard.type("b/c")
    page.keyboard.press("Enter")
    page.locator("#new-label-error").get_by_text("without slash").wait_for()
    assert page.get_by_label("New label").input_value() == "b/c"


def test_letters_typed_into_the_search_while_its_answer_is_under_way_stay(open_page: Open) -> None:
    project = make_project(labels=0, unlabeled=12)
    page = open_page("bob")
    visit(page, project)
    slow_down(page, 800)
    page.locator("#search").click()
    page.keyboard.type("picture")
    page.wait_for_timeout(500)  # the search for “picture” is under way
    page.keyboard.type("-7")
    wait_for_tiles(page, 1)
    assert page.locator("#search").input_value() == "picture-7"
    page.wait_for_url("**q=picture-7**")


def test_an_answer_about_something_else_keeps_a_half_typed_label(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    slow_down(page, 800)
    tiles(page).nth(0).click()
    page.keyboard.press("1")
    page.get_by_label("New label").click()
    page.keyboard.type("snowdrop")
    wait_for_counts(page, 2, 1, 3, 0)
    assert page.get_by_label("New label").input_value() == "snowdrop"
    page.keyboard.type("s")
    assert page.get_by_label("New label").input_value() == "snowdrops"
    assert page.locator(".label-count").inner_text() == "1"  # the list is the new one


def test_what_is_open_and_half_filled_stays_when_others_change_something(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=4, with_files=True)
    page = open_page("bob")
    visit(page, project, "?tab=unlabeled")

    def changed_by_alice(*counts: int) -> None:
        image = project.images.unlabeled().first()
        actions.apply(project, [image.pk], add=["label-1"], by=make_user("alice"))
        ask_now(page)
        wait_for_counts(page, *counts)

    page.locator("#filter-menu summary").click()
    page.get_by_label("Labeled since").fill("2026-01-02")
    page.get_by_label("Does not have label").select_option("label-1")
    changed_by_alice(3, 3, 6, 0)
    assert page.get_by_label("Labeled since").input_value() == "2026-01-02"
    assert page.locator("#filter-notlabel option:checked").inner_text() == "label-1"
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**since=2026-01-02**")
    assert not page.get_by_label("Labeled since").is_visible()

    visit(page, project, "?tab=unlabeled")
    row = page.locator(".label-row", has_text="label-0")
    row.hover()
    row.get_by_label("Colour, key, order and merging of label-0").click()
    page.locator("#label-key").fill("q")
    changed_by_alice(2, 4, 6, 0)
    assert page.locator("#label-key").input_value() == "q"
    page.locator("#label-dialog").get_by_role("button", name="Save").click()
    page.locator("#label-dialog").wait_for(state="hidden")
    assert project.labels.get(name="label-0").hot_key == "q"


def test_a_key_that_is_held_down_acts_once_and_a_focused_image_out_of_sight_is_shown_first(
    open_page: Open,
) -> None:
    project = make_project(labels=1, images=0, unlabeled=100)
    page = open_page("bob")
    visit(page, project)
    tiles(page).nth(1).click()
    page.keyboard.press("Escape")
    for _ in range(5):
        page.keyboard.down("1")  # Playwright marks the later ones as repeated
    page.keyboard.up("1")
    wait_for_counts(page, 99, 1, 100, 0)

    page.locator(".middle").evaluate("middle => { middle.scrollTop = 1200 }")
    page.wait_for_timeout(300)
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    assert labels_of(project) == {"label-0": 1}  # nothing but the way to the image
    page.keyboard.press("1")
    wait_for_counts(page, 98, 2, 100, 0)


# --- Back, and two windows ---


def test_label_data_is_alive_after_back(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=4, with_files=True)
    page = open_page("bob")
    visit(page, project, "?tab=unlabeled")
    page.get_by_role("link", name="All 6").click()
    wait_for_tiles(page, 6)
    page.go_back()
    wait_for_tiles(page, 4)
    tiles(page).nth(0).click()
    page.keyboard.press("1")
    wait_for_counts(page, 3, 3, 6, 0)
    assert page.locator(".label-row", has_text="label-0").locator(".label-count").inner_text() == "2"
    page.go_forward()
    wait_for_tiles(page, 6)
    wait_for_counts(page, 3, 3, 6, 0)
    page.keyboard.press("Control+z")
    wait_for_counts(page, 4, 2, 6, 0)


@pytest.mark.parametrize("through", ["label_data", "project_list"])
def test_label_data_is_alive_when_one_returns_from_another_page(open_page: Open, through: str) -> None:
    project = make_project(labels=1, images=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project, "?tab=unlabeled")
    page.get_by_role("link", name="All 3").click()
    page.wait_for_url("**tab=all**")
    page.goto(reverse(through, args=[project.pk] if through == "label_data" else []))
    page.go_back()
    page.wait_for_url("**tab=all**")
    wait_for_tiles(page, 3)
    tiles(page).nth(0).click()
    page.keyboard.press("1")
    wait_for_counts(page, 2, 1, 3, 0)


def test_a_second_window_of_the_same_person_follows(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=4, with_files=True)
    page = open_page("bob")
    visit(page, project)
    second = page.context.new_page()
    second.set_default_timeout(10_000)
    visit(second, project)
    tiles(page).nth(0).click()
    page.keyboard.press("1")
    wait_for_counts(page, 3, 1, 4, 0)
    ask_now(second)
    wait_for_counts(second, 3, 1, 4, 0)
    page.get_by_label("New label").fill("roses")
    page.keyboard.press("Enter")
    wait_for_labels(page, "label-0", "roses")
    ask_now(second)
    wait_for_labels(second, "label-0", "roses")
    make_image(project, 99)
    ask_now(second)
    wait_for_counts(second, 4, 1, 5, 0)
    assert second.locator("#messages .message").count() == 0


def test_ones_own_changes_are_not_told_as_those_of_another_window(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=4, is_multi_label=True, with_files=True)
    page = open_page("bob")
    visit(page, project)
    slow_down(page, 300)
    tiles(page).nth(0).click()
    for _ in range(4):
        page.keyboard.press("1")
        ask_now(page)
        page.wait_for_timeout(150)
    page.wait_for_timeout(1500)
    ask_now(page)
    page.wait_for_timeout(600)
    assert page.locator("#messages .message").count() == 0


@pytest.mark.parametrize("is_refused_first", [False, True])
def test_back_from_the_receipt_shows_what_was_typed(open_page: Open, is_refused_first: bool) -> None:
    project = make_project(labels=2, images=6)
    page = open_page("alice")
    page.goto(reverse("label_data", args=[project.pk]))
    page.goto(reverse("configure_training", args=[project.pk]))
    page.get_by_label("Dataset Version").fill("autumn")
    page.get_by_label("Max. Training Time (Hour)").fill("7.25")
    page.locator("#id_training_ratio").fill("1.7" if is_refused_first else "0.66")
    page.get_by_role("button", name="Next").click()
    if is_refused_first:
        page.get_by_text("Enter a ratio above 0 and below 1").wait_for()
        page.locator("#id_training_ratio").fill("0.66")
        page.get_by_role("button", name="Next").click()
    page.get_by_role("heading", name="Confirm the specifications").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Training Configuration").wait_for()
    assert page.get_by_label("Dataset Version").input_value() == "autumn"
    assert page.get_by_label("Max. Training Time (Hour)").input_value() == "7.25"
    assert page.locator("#id_training_ratio").input_value() == "0.66"
    page.get_by_text("At most 7 hours 15 minutes").wait_for()  # the previews follow
    page.go_forward()
    page.get_by_role("heading", name="Training Configuration").wait_for()
    assert page.get_by_label("Dataset Version").input_value() == "autumn"
    page.get_by_role("button", name="Next").click()
    page.get_by_role("heading", name="Confirm the specifications").wait_for()


def test_back_to_another_form_shows_what_was_typed(open_page: Open) -> None:
    make_project(labels=1, images=1)
    page = open_page("alice")
    page.goto(reverse("create_project"))
    page.get_by_label("Name").fill("winter garden")
    page.get_by_label("Description").fill("frost")
    page.goto(reverse("project_list"))
    page.go_back()
    page.get_by_label("Name").wait_for()
    assert page.get_by_label("Name").input_value() == "winter garden"
    assert page.get_by_label("Description").input_value() == "frost"


def test_other_pages_that_change_their_address_are_alive_after_back(open_page: Open) -> None:
    for number in range(9):
        make_project(f"garden {number}", labels=1, images=0)
    page = open_page("alice")
    page.goto(reverse("project_list"))
    field = page.get_by_role("searchbox").first
    field.fill("garden 3")
    page.wait_for_url("**garden**3**")
    page.get_by_text("garden 4").wait_for(state="detached")
    page.go_back()
    page.get_by_text("garden 4").first.wait_for()
    page.go_forward()
    # The address changes before the page is loaded anew.
    page.wait_for_function("() => document.querySelector('[type=search]')?.value === 'garden 3'")
    field = page.get_by_role("searchbox").first
    field.fill("garden 7")
    page.get_by_text("garden 7").first.wait_for()
    page.get_by_text("garden 3").wait_for(state="detached")

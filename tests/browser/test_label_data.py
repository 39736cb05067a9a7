"""The Label Data page in a real browser: selecting, keys, uploads, two people at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from projects.labels import actions
from projects.models import Project
from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project, make_user, picture_bytes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def visit(page: Any, project: Project, query: str = "") -> None:
    page.goto(reverse("label_data", args=[project.pk]) + query)


def tiles(page: Any) -> Any:
    return page.locator("#tiles > .tile")


def selected(page: Any) -> list[int]:
    """Indices of the selected images in the grid."""
    return page.evaluate(
        "[...document.querySelectorAll('.tile')].map((t, at) => [t.ariaSelected, at])"
        ".filter(([is]) => is === 'true').map(([, at]) => at)"
    )


def wait_for_focus(page: Any, place: int) -> None:
    page.wait_for_function(
        "at => [...document.querySelectorAll('.tile')].indexOf(document.activeElement) === at", arg=place
    )


def wait_for_counts(page: Any, *counts: int) -> None:
    """Wait for the counts of Unlabeled, Labeled, All and Bin; To Be Confirmed is left out."""
    wanted = [f"{count:,}" for count in counts]
    page.wait_for_function(
        "wanted => JSON.stringify([...document.querySelectorAll('.tab-count')].map(c => c.textContent)"
        ".filter((_, at) => at !== 1)) === JSON.stringify(wanted)",
        arg=wanted,
    )


def labels_of(project: Project) -> dict[str, int]:
    return {label.name: label.annotations.count() for label in project.labels.all()}


def test_selecting_by_mouse_and_keyboard(open_page: Open) -> None:
    project = make_project(labels=0, unlabeled=12, with_files=True)
    page = open_page("bob")
    visit(page, project)

    tiles(page).nth(2).click()
    assert selected(page) == [2]
    tiles(page).nth(5).click(modifiers=["Shift"])
    assert selected(page) == [2, 3, 4, 5]
    tiles(page).nth(9).click(modifiers=["Control"])
    tiles(page).nth(3).click(modifiers=["Control"])
    assert selected(page) == [2, 4, 5, 9]
    assert page.locator("#pane h2").inner_text() == "Add label – 4 images selected"
    page.keyboard.press("Escape")
    assert selected(page) == []

    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert selected(page) == [1, 3]
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == [3, 4, 5]
    page.keyboard.press("Control+a")
    assert len(selected(page)) == 12
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Select Current Page").click()
    assert len(selected(page)) == 12


def test_labeling_by_keys_moves_on_and_can_be_taken_back(open_page: Open) -> None:
    project = make_project(labels=2, images=1, unlabeled=6, with_files=True)
    page = open_page("bob")
    visit(page, project)

    tiles(page).nth(0).click()
    for key in "1212":
        page.keyboard.press(key)
    wait_for_counts(page, 2, 6, 8, 0)
    wait_for_focus(page, 0)
    assert tiles(page).count() == 2
    assert labels_of(project) == {"label-0": 3, "label-1": 3}

    page.keyboard.press("Control+z")
    wait_for_counts(page, 3, 5, 8, 0)
    page.locator("#notice").get_by_text("Undone for 1 image.").wait_for()


def test_a_typed_label_goes_to_the_selection_by_enter_and_ok(open_page: Open) -> None:
    project = make_project(labels=0, unlabeled=6, with_files=True)
    page = open_page("bob")
    visit(page, project)

    tiles(page).nth(1).click()
    tiles(page).nth(3).click(modifiers=["Shift"])
    page.get_by_label("Label", exact=True).fill("roses")
    page.keyboard.press("Enter")
    assert page.locator("#chosen .chip").inner_text().startswith("roses")
    page.get_by_role("button", name="OK").click()

    wait_for_counts(page, 3, 3, 6, 0)
    wait_for_focus(page, 1)
    assert selected(page) == []
    assert page.locator("#all-labels-title").inner_text() == "All Labels (1)"
    assert labels_of(project) == {"roses": 3}
    page.locator("#notice").get_by_role("button", name="Undo").click()
    wait_for_counts(page, 6, 0, 6, 0)


def test_a_refused_label_keeps_the_selection_and_what_was_typed(open_page: Open) -> None:
    project = make_project(labels=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    tiles(page).nth(0).click()
    page.get_by_label("Label", exact=True).fill("a/b")
    page.get_by_role("button", name="OK").click()
    page.locator("#label-error").get_by_text("without slash").wait_for()
    page.wait_for_function("() => document.querySelector('#chosen .chip')")
    assert selected(page) == [0] and tiles(page).count() == 3
    assert page.locator("#chosen .chip .cut").inner_text() == "a/b"


def test_several_labels_per_image_are_toggled_by_keys(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=3, is_multi_label=True, with_files=True)
    page = open_page("bob")
    visit(page, project)
    tiles(page).nth(1).click()
    page.keyboard.press("1")
    wait_for_counts(page, 2, 1, 3, 0)
    page.keyboard.press("2")
    tiles(page).nth(1).get_by_text("label-1").wait_for()
    assert labels_of(project) == {"label-0": 1, "label-1": 1} and selected(page) == [1]
    page.keyboard.press("1")
    tiles(page).nth(1).get_by_text("label-0").wait_for(state="detached")
    assert labels_of(project) == {"label-0": 0, "label-1": 1}


def test_labels_are_renamed_in_place_and_deleted_after_a_question(open_page: Open) -> None:
    project = make_project(labels=2, images=2, with_files=True)
    page = open_page("bob")
    visit(page, project)

    row = page.locator(".label-row", has_text="label-0")
    row.hover()
    row.get_by_label("Rename label-0").click()
    page.locator("#rename-form input[name=name]").wait_for()
    page.wait_for_function("() => document.activeElement.name === 'name'")
    page.keyboard.type("label-1")
    page.keyboard.press("Enter")
    page.get_by_text("This project already has a label “label-1”.").wait_for()
    page.locator("#rename-form input[name=name]").fill("roses")
    page.keyboard.press("Enter")
    page.locator(".label-row", has_text="roses").wait_for()

    row = page.locator(".label-row", has_text="label-1")
    row.hover()
    row.get_by_label("Delete the label label-1").click()
    dialog = page.locator("#label-dialog")
    dialog.get_by_text("2 images lose it").wait_for()
    check_accessibility(page)
    dialog.get_by_role("button", name="Delete the label").click()
    wait_for_counts(page, 2, 2, 4, 0)
    assert not dialog.is_visible() and labels_of(project) == {"roses": 2}


def test_deleting_asks_and_the_bin_gives_back(open_page: Open) -> None:
    project = make_project(labels=1, images=4, with_files=True)
    page = open_page("bob")
    visit(page, project)
    tiles(page).nth(0).click()
    tiles(page).nth(1).click(modifiers=["Shift"])
    page.keyboard.press("Delete")
    page.get_by_text("Delete 2 images?").wait_for()
    page.locator("[data-delete-confirm]").click()
    wait_for_counts(page, 0, 2, 2, 2)

    page.get_by_role("link", name="Bin").click()
    page.get_by_text("30 days left").first.wait_for()
    assert "tab=bin" in page.url
    page.keyboard.press("Control+a")
    page.get_by_role("button", name="Restore").click()
    wait_for_counts(page, 0, 4, 4, 0)
    assert project.images.alive().count() == 4


def test_an_image_is_enlarged_and_labeled_there(open_page: Open) -> None:
    project = make_project(labels=1, images=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    tiles(page).nth(0).click()
    page.keyboard.press("Enter")
    dialog = page.locator("#enlarge")
    dialog.wait_for()
    assert dialog.locator("#enlarge-name").inner_text() == "picture-2.png"
    assert "32 × 24" in dialog.locator("#enlarge-facts").inner_text()
    page.wait_for_function("() => document.getElementById('enlarge-image').naturalWidth === 32")
    check_accessibility(page)
    take_screenshot(page, "label-data-enlarged")

    page.keyboard.press("ArrowRight")
    assert dialog.locator("#enlarge-name").inner_text() == "picture-1.png"
    page.keyboard.press("1")
    page.wait_for_function("() => document.getElementById('enlarge-name').textContent === 'picture-0.png'")
    wait_for_counts(page, 2, 1, 3, 0)
    page.keyboard.press("Escape")
    wait_for_focus(page, 1)
    assert not dialog.is_visible()
    assert project.images.labeled().get().name == "picture-1.png"


def make_files(folder: Path, count: int) -> list[str]:
    for seed in range(count):
        (folder / f"photo-{seed}.png").write_bytes(picture_bytes(seed))
    (folder / "page.jpg").write_text("<!doctype html>")
    (folder / "empty.png").write_bytes(b"")
    (folder / "twin.png").write_bytes(picture_bytes(0))
    names = [f"photo-{seed}.png" for seed in range(count)] + ["page.jpg", "empty.png", "twin.png"]
    return [str(folder / name) for name in names]


def test_uploading_shows_refused_files_and_stops_at_none(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0, images=0)
    page = open_page("bob")
    visit(page, project)
    check_accessibility(page)
    take_screenshot(page, "label-data-empty")

    page.locator("#files").set_input_files(make_files(tmp_path, 20))

    page.get_by_text("20 added · 1 already here · 2 refused").wait_for()
    rows = page.locator("#uploads-list .upload").all_inner_texts()
    twin, *refused = sorted((row.split("\n")[0] for row in rows), key=["empty.png", "page.jpg"].__contains__)
    assert sorted(refused) == ["empty.png", "page.jpg"]
    assert twin in ("twin.png", "photo-0.png")  # uploaded in parallel: whichever came second
    assert any("The file is empty." in row for row in rows)
    wait_for_counts(page, 20, 0, 20, 0)
    assert tiles(page).count() == 20 and project.images.count() == 20
    check_accessibility(page)
    take_screenshot(page, "label-data-uploaded")


def test_an_upload_without_a_network_is_tried_again_on_demand(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0, images=0)
    page = open_page("bob")
    page.clock.install()
    visit(page, project)
    page.route("**/images/upload/", lambda route: route.abort())
    page.locator("#files").set_input_files(make_files(tmp_path, 1)[:1])
    page.get_by_text("Waiting for the server. The upload continues by itself.").wait_for()
    for _ in range(125):  # it waits about an hour
        page.wait_for_timeout(40)
        page.clock.fast_forward(31_000)
    page.get_by_text("0 added · 1 not uploaded").wait_for()
    page.get_by_text("No connection to the server.").wait_for()
    page.unroute("**/images/upload/")
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("1 added").wait_for()
    assert project.images.count() == 1


def test_two_people_at_once_lose_nothing_and_see_each_other(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=8, with_files=True)
    bob, alice = open_page("bob"), open_page("alice")
    visit(bob, project)
    visit(alice, project)

    tiles(bob).nth(0).click()
    tiles(alice).nth(7).click()
    bob.keyboard.press("1")
    alice.keyboard.press("2")
    for page in (bob, alice):
        page.locator("#notice").get_by_text("1 image labeled").wait_for()
    bob.keyboard.press("1")
    wait_for_counts(bob, 5, 3, 8, 0)  # alice's too
    alice.keyboard.press("Control+a")
    alice.keyboard.press("2")
    wait_for_counts(alice, 0, 8, 8, 0)
    assert sum(labels_of(project).values()) == 8
    by = [event.by.username for event in project.label_events.all()]
    assert by.count("bob") == 2 and by.count("alice") == 2


def test_the_label_filter_the_search_and_back(open_page: Open) -> None:
    project = make_project(labels=2, images=3, with_files=True)
    page = open_page("vera")
    visit(page, project)
    page.locator(".label-name", has_text="label-1").click()
    page.wait_for_url("**tab=labeled&label=*")
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 3")
    page.get_by_label("Search by file name").fill("picture-4")
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 1")
    page.locator("a.filter", has_text="name contains").click()
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 3")
    page.locator("a.filter", has_text="label-1").click()
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 6")
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("person", ["bob", "vera"])
def test_axe_finds_nothing(open_page: Open, scheme: str, person: str) -> None:
    project = make_project(labels=3, images=4, unlabeled=2, with_files=True)
    actions.delete_images(project, [project.images.first().pk], make_user("bob"))
    page = open_page(person, scheme=scheme)
    for tab in ("all", "unlabeled", "bin", "labeled"):
        visit(page, project, f"?tab={tab}")
        tiles(page).first.click()
        check_accessibility(page)
        take_screenshot(page, f"label-data-{tab}-{person}-{scheme}")


def test_nothing_scrolls_sideways_on_a_phone(open_page: Open) -> None:
    project = make_project("a" * 32, labels=0, unlabeled=9, with_files=True)
    images = list(project.images.values_list("pk", flat=True))
    actions.apply(project, images[:4], add=["w" * 64], by=make_user("bob"))
    page = open_page("bob", width=390, height=844)
    for tab in ("all", "bin"):
        visit(page, project, f"?tab={tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visit(page, project, "?tab=all")
    tiles(page).first.click()
    page.locator("#pane").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    take_screenshot(page, "label-data-phone")


def test_an_upload_leaves_the_grid_alone_while_somebody_selects(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0, unlabeled=3, with_files=True)
    page = open_page("bob")
    visit(page, project)
    tiles(page).nth(1).click()
    page.locator("#files").set_input_files(make_files(tmp_path, 9)[3:9])
    page.get_by_text("6 added").wait_for()
    wait_for_counts(page, 9, 0, 9, 0)
    assert tiles(page).count() == 3 and selected(page) == [1]
    page.get_by_role("button", name="Show the new images").click()
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 9")
    assert not page.get_by_role("button", name="Show the new images").is_visible()


def test_files_dropped_anywhere_are_added(open_page: Open) -> None:
    project = make_project(labels=0, images=0)
    page = open_page("bob")
    visit(page, project)
    drag = """(type, bytes) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
        const how = { dataTransfer: transfer, bubbles: true, cancelable: true };
        document.body.dispatchEvent(new DragEvent(type, how));
    }"""
    content = list(picture_bytes(1))
    page.evaluate(f"([type, bytes]) => ({drag})(type, bytes)", ["dragenter", content])
    page.get_by_text("Drop images, folders or a zip").wait_for()
    page.evaluate(f"([type, bytes]) => ({drag})(type, bytes)", ["drop", content])
    page.get_by_text("1 added").wait_for()
    assert not page.locator("#drop-veil").is_visible()
    assert project.images.get().name == "dropped.png"


def test_many_labels_are_found_by_name_and_ordered_by_count(open_page: Open) -> None:
    project = make_project(labels=12, images=0, unlabeled=3, with_files=True)
    bob = make_user("bob")
    images = list(project.images.values_list("pk", flat=True))
    actions.apply(project, images[:2], add=["label-7"], by=bob)
    page = open_page("bob")
    visit(page, project)
    names = "() => [...document.querySelectorAll('.label-row:not([hidden])')].map(row => row.dataset.name)"
    page.get_by_label("Order of the labels").select_option("most")
    assert page.evaluate(names)[:2] == ["label-7", "label-0"]
    page.get_by_label("Find a label").fill("label-1")
    assert page.evaluate(names) == ["label-1", "label-10", "label-11"]
    page.get_by_label("Find a label").fill("rose")
    page.get_by_text("No label matches.").wait_for()
    page.get_by_label("Find a label").fill("")
    tiles(page).first.click()
    page.keyboard.press("1")
    page.locator("#notice").get_by_text("1 image labeled").wait_for()
    assert page.evaluate(names)[:3] == ["label-7", "label-0", "label-1"]  # also after an action
    check_accessibility(page)
    take_screenshot(page, "label-data-many-labels")

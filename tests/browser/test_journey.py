"""The main task in a real browser with the real supervisor: from a folder of photos to a prediction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import check_accessibility, cut_texts, take_screenshot
from tests.browser.photos import flower_files
from tests.supervisor_process import ADMIN_PASSWORD, Product

pytestmark = pytest.mark.browser
TRAINED_WITHIN_MS = 900_000


@pytest.fixture
def window(chromium: Any, tmp_path: Path, give_database: Callable[[Path], Path]) -> Iterator[Any]:
    """A browser window at the sign-in page after the very first start."""
    with Product(give_database(tmp_path / "data")) as product:
        context = chromium.new_context(base_url=product.url, viewport={"width": 1440, "height": 900})
        errors: list[str] = []
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        take_screenshot(page, "journey-last")
        context.close()
        assert not errors, errors


def test_from_a_folder_of_photos_to_a_prediction(window: Any, tmp_path: Path) -> None:
    sign_in(window)
    create_project(window, "flowers")
    photos = flower_files(tmp_path / "photos", per_label=12)
    upload(window, photos)
    label_by_keyboard(window)
    train(window)
    read_the_numbers(window)
    look_inside(window)
    promote_another(window)
    deploy_and_predict(window, flower_files(tmp_path / "unseen", per_label=4, side="test"))


def sign_in(page: Any) -> None:
    page.goto("/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="handwritten-digits").first.wait_for()
    seen(page, "journey-1-projects")


def create_project(page: Any, name: str) -> None:
    page.get_by_role("link", name="Create Project").first.click()
    page.get_by_label("Name", exact=True).fill(name)
    page.keyboard.press("Enter")
    page.wait_for_url("**/label-data/**")
    seen(page, "journey-2-empty")


def upload(page: Any, photos: list[Path]) -> None:
    broken = photos[0].with_name("broken.jpg")
    broken.write_bytes(photos[0].read_bytes()[:2000])
    page.locator("#files").set_input_files([*photos, broken])
    page.get_by_role("link", name=f"Unlabeled {len(photos)}").wait_for(timeout=120_000)
    assert page.get_by_text("broken.jpg").first.is_visible()
    seen(page, "journey-3-uploaded")


def label_by_keyboard(page: Any) -> None:
    """Label like a person: type a label the first time, press its key later."""
    keys: dict[str, str] = {}
    page.locator("#tiles [role=option]").first.focus()
    while page.locator("#tiles [role=option]").count():
        picture = page.evaluate("[document.activeElement.id, document.activeElement.title]")
        flower = picture[1].split("-")[0]
        assert flower, "the focus must move on to the next picture"
        if flower in keys:
            page.keyboard.press(keys[flower])
        else:
            keys[flower] = str(len(keys) + 1)
            page.keyboard.press("Space")
            page.locator("#label-input").fill(flower)
            page.keyboard.press("Enter")
            page.keyboard.press("Enter")
            page.locator(f"#all-labels [data-name='{flower}']").wait_for()
        page.locator(f"#{picture[0]}").wait_for(state="detached")
    assert page.get_by_role("heading", name="All Labels (5)").is_visible()
    page.get_by_role("link", name=re.compile(r"^Labeled")).click()
    page.get_by_role("link", name="Labeled 60").wait_for()
    seen(page, "journey-4-labeled")


def train(page: Any) -> None:
    page.locator(".project-bar").get_by_role("link", name="Train", exact=True).click()
    page.get_by_role("heading", name="Training Configuration").wait_for()
    page.get_by_label("Max. Inference Duration").fill("7")  # one network at a time: a shorter search
    seen(page, "journey-5-configuration")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("heading", name="Confirm the specifications").wait_for()
    seen(page, "journey-6-confirm")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/train-model/**")
    page.locator("#version .badge", has_text="Running").wait_for(timeout=60_000)
    take_screenshot(page, "journey-7-running")
    # Linear heads of several networks are there, one to deploy and one to promote. Stop keeps the best.
    page.locator("#version .progress-now", has_text="Fine-tuning").wait_for(timeout=TRAINED_WITHIN_MS)
    page.locator("#stop").click()
    page.locator("#question").get_by_role("button", name="Stop").click()
    page.get_by_text("Stopping: the best model so far is kept").wait_for()
    page.evaluate("window.neverReloaded = true")
    page.locator("#version .badge", has_text="Completed").wait_for(timeout=TRAINED_WITHIN_MS)
    assert page.evaluate("window.neverReloaded"), "Running became Completed without a reload"


def read_the_numbers(page: Any) -> None:
    accuracy = float(page.locator(".ring-words strong").inner_text().split()[0])
    assert 50 < accuracy <= 100, "five kinds of flowers: far above chance"
    for name in ("Recall", "Precision", "Accuracy", "F1 Score"):
        assert page.locator(".scores").get_by_text(name).first.is_visible()
    right, judged = map(int, page.locator(".result-words strong").inner_text().split(" of "))
    assert page.locator(".surest-image img").count() == min(judged - right, 6)
    seen(page, "journey-8-completed")
    for tab, heading, charts in (
        ("Labels", "Classification Statistics", 1),
        ("Candidates", "Leaderboard", 2),
    ):
        page.locator(".version-tabs").get_by_role("link", name=tab).click()
        page.get_by_role("heading", name=heading).wait_for()
        assert page.locator(".chart img").count() == charts
        page.locator(".chart img").last.scroll_into_view_if_needed()
        page.wait_for_function(
            "() => [...document.querySelectorAll('.chart img')].every(one => one.naturalWidth > 0)"
        )
        seen(page, f"journey-8-{tab.lower()}")


def look_inside(page: Any) -> None:
    """One image of the evaluation, with the heat map of the model and the training images beside it."""
    page.locator(".version-tabs").get_by_role("link", name="Images").click()
    page.get_by_role("link", name="All", exact=True).click()
    page.locator(".evaluated-tile").first.click()
    page.locator("#heat").evaluate("img => img.decode()")  # fails if it is not an image
    for _ in range(120):  # the labeling worker may still be reading the images
        if page.locator(".inside-near li").count():
            break
        page.wait_for_timeout(1000)
        page.reload()
    page.locator(".inside-near li").first.wait_for()
    seen(page, "journey-9-inside")
    page.locator(".version-tabs").get_by_role("link", name="Overview").click()
    page.locator("#version").get_by_role("link", name="Deploy").wait_for()


def promote_another(page: Any) -> None:
    """Another candidate becomes V002 with its own evaluation; then back to V001."""
    page.locator(".version-tabs").get_by_role("link", name="Candidates").click()
    page.locator(".leaderboard-action a").first.click()
    page.locator("#question").get_by_role("button", name="Promote").wait_for()
    seen(page, "journey-9-promote")
    page.locator("#question").get_by_role("button", name="Promote").click()
    page.locator("#version-title", has_text="V002").wait_for()
    page.locator("#version .badge", has_text="Completed").wait_for(timeout=120_000)
    seen(page, "journey-9-promoted")
    page.locator("#version .facts a[href$='/train-model/1/']").click()
    page.locator("#version-title", has_text="V001").wait_for()


def deploy_and_predict(page: Any, unseen: list[Path]) -> None:
    page.locator("#version").get_by_role("link", name="Deploy").click()
    page.locator("#deploy-dialog").get_by_role("button", name="Deploy").click()
    page.locator(".badge", has_text="Running").first.wait_for(timeout=60_000)
    answers = []
    for photo in unseen:
        page.locator("#prediction-result").evaluate("old => old.dataset.old = ''")
        page.locator("#id_image").set_input_files(photo)  # is predicted at once
        page.locator("#prediction-result[data-answer]:not([data-old])").wait_for()
        answers.append((photo.name.split("-")[0], page.locator(".predicted-label").inner_text()))
    right = sum(flower == label for flower, label in answers)
    # Trained on 50 photos its accuracy is about 0.75; chance is 0.2.
    assert right >= len(unseen) / 2, f"{right} of {len(unseen)} unseen flowers: {answers}"
    assert page.locator("#prediction-result .scores li").count() == 5
    # The button is pale while a picture is predicted, and a moment longer.
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('#prediction-button')).opacity === '1'"
    )
    seen(page, "journey-9-predicted")


def seen(page: Any, name: str) -> None:
    """axe finds nothing, a phone shows all of it; screenshots are stored in the folder EXEML_SCREENSHOTS."""
    check_accessibility(page)
    take_screenshot(page, name)
    size = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 844})
    assert cut_texts(page) == [], name
    take_screenshot(page, f"{name}-narrow")
    page.set_viewport_size(size)

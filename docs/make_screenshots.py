"""Makes the pictures of docs/ from the real program: `python -m docs.make_screenshots`.

It starts exeml in a folder of its own, walks through the sample project in Chromium as the tour tells and
writes docs/pictures/*.png. With `--all FOLDER` every page is taken dark and narrow too.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image as Picture
from playwright.sync_api import sync_playwright

from tests.browser.chromium import CHROMIUM_ARGUMENTS, find_chromium
from tests.supervisor_process import ADMIN_PASSWORD, Product

PICTURES = Path(__file__).resolve().parent / "pictures"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# Waits for the images on the screen.
IMAGES_SEEN = """() => Promise.all([...document.images]
    .filter(image => image.checkVisibility() && image.getBoundingClientRect().top < innerHeight)
    .map(image => image.decode().catch(() => null)))"""
COLOURS = 128  # a palette keeps the pictures small; an octree keeps the few coloured pixels as they are


class Camera:
    """Takes the page for the tour and, where `others` names a folder, in every other light and width."""

    def __init__(self, page: Any, others: Path | None) -> None:
        self.page = page
        self.others = others

    def take(self, name: str) -> None:
        self.page.evaluate(IMAGES_SEEN)
        self.page.wait_for_timeout(400)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=str(path))
        octree, plain = Picture.Quantize.FASTOCTREE, Picture.Dither.NONE
        picture = Picture.open(path, formats=["PNG"]).convert("RGB")
        picture.quantize(COLOURS, octree, dither=plain).save(path, optimize=True)
        if self.others:
            self._take_others(name, self.others)

    def _take_others(self, name: str, folder: Path) -> None:
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            for width, size in (("wide", WIDE), ("narrow", NARROW)):
                self.page.set_viewport_size(size)
                self.page.wait_for_timeout(200)
                path = folder / f"{name}-{scheme}-{width}.png"
                self.page.screenshot(path=str(path), full_page=width == "narrow")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(WIDE)


def walk(page: Any, camera: Camera) -> None:
    page.goto("/")
    camera.take("sign-in")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="handwritten-digits").first.wait_for()
    camera.take("projects")
    page.get_by_role("link", name="handwritten-digits").first.click()
    page.wait_for_load_state("networkidle")
    page.locator("#tiles [role=option]").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
    camera.take("label-data")
    page.keyboard.press("Escape")
    for _ in range(60):  # the worker looks at 1,797 images first
        page.goto("/projects/1/label-data/?tab=suggested")
        if page.locator(".tile-suggested").count():
            break
        page.wait_for_timeout(2_000)
    camera.take("to-be-confirmed")
    page.goto("/projects/1/transfers/")
    camera.take("transfers")
    page.goto("/projects/1/people/")
    camera.take("people")
    train(page, camera)
    look_inside(page, camera)
    deploy(page, camera)
    serve(page, camera)
    page.goto("/teams/1/members/")
    camera.take("members")


def train(page: Any, camera: Camera) -> None:
    page.locator(".project-bar").get_by_role("link", name="Train", exact=True).click()
    page.get_by_label("Max. Training Time (Hour)").fill("0.1")
    page.evaluate("scrollTo(0, 0)")
    camera.take("training-configuration")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("heading", name="Confirm the specifications").wait_for()
    camera.take("confirm")
    page.get_by_role("button", name="Submit").click()
    page.locator("#version .badge", has_text="Running").wait_for(timeout=60_000)
    page.locator(".live-curve").wait_for(timeout=240_000)
    page.wait_for_timeout(15_000)
    camera.take("running")
    page.locator("#version .badge", has_text="Completed").wait_for(timeout=480_000)
    page.locator(".surest-image").first.wait_for()
    camera.take("completed")
    tabs = page.locator(".version-tabs")
    tabs.get_by_role("link", name="Labels").click()
    page.locator(".statistics").wait_for()
    camera.take("labels")
    tabs.get_by_role("link", name="Candidates").click()
    page.locator(".charts").wait_for()
    camera.take("charts")


def look_inside(page: Any, camera: Camera) -> None:
    tabs = page.locator(".version-tabs")
    tabs.get_by_role("link", name="Images").click()
    page.wait_for_load_state("networkidle")
    if not page.locator(".evaluated-tile").count():  # none is wrong
        page.get_by_role("link", name="All", exact=True).click()
    page.locator(".evaluated-tile").first.click()
    page.locator("#heat").evaluate("img => img.decode()")
    page.locator(".inside-near li").first.wait_for()
    camera.take("inside")
    page.go_back()
    for name in ("Confusion", "Thresholds"):
        tabs.get_by_role("link", name=name).click()
        page.wait_for_load_state("networkidle")
        camera.take(name.lower())
    tabs.get_by_role("link", name="Overview").click()


def deploy(page: Any, camera: Camera) -> None:
    page.locator("#version").get_by_role("link", name="Deploy").click()
    page.locator("#deploy-form [type=submit]").wait_for()
    camera.take("deploy")
    page.locator("#deploy-form [type=submit]").click()
    page.locator("#service-status .badge-ok").wait_for(timeout=60_000)
    with tempfile.TemporaryDirectory() as folder:
        predict(page, _digits(Path(folder), 8)[7:])
        camera.take("prediction")


def predict(page: Any, files: list[Path]) -> None:
    page.locator("#id_image").set_input_files(files)
    page.locator("#prediction-result").evaluate("old => old.dataset.old = ''")
    page.locator("#prediction-button").click()
    page.locator("#prediction-result[data-answer]:not([data-old])").wait_for()


def serve(page: Any, camera: Camera) -> None:
    """What a service has besides its test: collected pictures, a batch, monitoring."""
    tabs = page.locator("nav.tabs")
    tabs.get_by_role("link", name="Collected").click()
    page.get_by_label("Collect", exact=False).first.check()
    page.get_by_role("button", name="Save").click()
    page.wait_for_load_state("networkidle")
    with tempfile.TemporaryDirectory() as folder:
        files = _digits(Path(folder), 24)
        tabs.get_by_role("link", name="Test").click()
        predict(page, files)
        tabs.get_by_role("link", name="Collected").click()
        page.wait_for_load_state("networkidle")
        camera.take("collected")
        with zipfile.ZipFile(Path(folder) / "scans.zip", "w") as archive:
            for one in files:
                archive.write(one, one.name)
        tabs.get_by_role("link", name="Batch").click()
        page.locator("#uploads").set_input_files(Path(folder) / "scans.zip")
        page.get_by_role("button", name="Start", exact=True).click()
        page.locator("article .badge-ok").wait_for(timeout=120_000)
        camera.take("batch")
    tabs.get_by_role("link", name="Monitoring").click()
    page.locator(".monitor").first.wait_for()
    camera.take("monitoring")


def _digits(folder: Path, count: int) -> list[Path]:
    """Scans as the sample project has them; the first ten are the digits from 0 to 9."""
    from sklearn.datasets import load_digits

    found = []
    for number, pixels in enumerate(load_digits().images[:count]):
        path = folder / f"scan-{number:02d}.png"
        scan = Picture.fromarray((255 - pixels * 15.9).astype("uint8"))
        scan.resize((64, 64), Picture.Resampling.BICUBIC).save(path)
        found.append(path)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, help="folder for dark and narrow pictures too")
    others = parser.parse_args().all
    PICTURES.mkdir(exist_ok=True)
    if others:
        others.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Product(Path(folder) / "data") as product,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(base_url=product.url, viewport=WIDE)
        page.set_default_timeout(30_000)
        walk(page, Camera(page, others))
        browser.close()


if __name__ == "__main__":
    main()

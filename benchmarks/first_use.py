"""What a person new to the program does and reads until a model is deployed, and what each page shows first.

    python -m benchmarks.first_use [--pictures FOLDER]

The program is started in an empty folder and used in Chromium at 1440 × 900, as the founding procedure says:
sign in, create a project, upload, label, train with the documented defaults, deploy, predict. Two tables are
printed.

* Steps: clicks and presses of keys (a typed text counts as one), words on the screen when the step begins.
  A word counts if it is within the window; nobody has to scroll for it.
* Pages of the finished project: words on the screen, words on the whole page, and the height at which the
  first picture begins (an image, a chart or a drawing of at least 48 pixels; the bar at the top and icons
  have none), all in CSS pixels.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.chromium import CHROMIUM_ARGUMENTS, find_chromium
from tests.browser.photos import flower_files
from tests.supervisor_process import ADMIN_PASSWORD, Product

TRAINED_WITHIN_MS = 3_900_000  # the default limit is an hour
PER_LABEL = 12
# Visible words of elements of which a part is within the window, and those of the whole page.
WORDS = """() => {
    const words = text => (text.match(/[\\p{L}\\p{N}][\\p{L}\\p{N}.,:%–-]*/gu) || []).length;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let screen = 0, page = 0;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement;
        if (!node.data.trim() || ['SCRIPT', 'STYLE', 'TEMPLATE'].includes(parent.tagName)) continue;
        if (!parent.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        if (parent.closest('.visually-hidden')) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        const box = range.getBoundingClientRect();
        if (!box.width || !box.height) continue;
        const count = words(node.data);
        page += count;
        if (box.top < innerHeight && box.bottom > 0 && box.left < innerWidth) screen += count;
    }
    return [screen, page];
}"""
FIRST_PICTURE = """() => {
    const tops = [...document.querySelectorAll('img, svg, canvas')]
        .filter(one => one.checkVisibility())
        .map(one => one.getBoundingClientRect())
        .filter(box => box.width >= 48 && box.height >= 48)
        .map(box => Math.round(box.top + scrollY));
    return tops.length ? Math.min(...tops) : null;
}"""


@dataclass
class Walk:
    """Counts what the person does. `steps`: name, clicks and presses since the step before, words read."""

    page: Any
    pictures: Path | None
    actions: int = 0
    steps: list[tuple[str, int, int]] = field(default_factory=list)

    def see(self, step: str) -> None:
        """A new screen: its words are read, what was done so far belongs to the step before."""
        self.page.wait_for_load_state()
        self.page.wait_for_timeout(500)
        self.steps.append((step, self.actions, self.page.evaluate(WORDS)[0]))
        if self.pictures:
            self.page.screenshot(path=str(self.pictures / f"step-{len(self.steps):02}.png"))

    def click(self, element: Any, **options: Any) -> None:
        self.actions += 1
        element.click(**options)

    def type(self, element: Any, text: str) -> None:
        self.actions += 1
        element.fill(text)

    def press(self, key: str) -> None:
        self.actions += 1
        self.page.keyboard.press(key)

    def print(self) -> None:
        print(f"\n{'step':34}{'clicks and presses':>20}{'words on the screen':>22}")
        ends = [before for _, before, _ in self.steps[1:]] + [self.actions]
        for (step, before, words), end in zip(self.steps, ends, strict=True):
            print(f"{step:34}{end - before:>20}{words:>22}")
        print(f"{'in all':34}{self.actions:>20}{sum(words for _, _, words in self.steps):>22}")


def use(walk: Walk, folder: Path) -> str:
    """From sign-in to the answer of a service; returns the project's address."""
    page = walk.page
    page.goto("/")
    walk.see("Sign in")
    walk.type(page.get_by_label("Username"), "admin")
    walk.type(page.get_by_label("Password"), ADMIN_PASSWORD)
    walk.press("Enter")
    page.get_by_role("link", name="handwritten-digits").first.wait_for()
    walk.see("Projects")
    walk.click(page.get_by_role("link", name="Create Project").first)
    walk.see("Create Project")
    walk.type(page.get_by_label("Name", exact=True), "flowers")
    walk.press("Enter")
    page.wait_for_url("**/label-data/**")
    walk.see("Label Data, empty")
    photos = [path for path in flower_files(folder, PER_LABEL) if path.name.startswith(("roses", "daisy"))]
    walk.actions += 2  # the button, and the choice of the files
    page.locator("#files").set_input_files(photos)
    page.get_by_role("link", name=f"Unlabeled {len(photos)}").wait_for(timeout=120_000)
    walk.see("Label Data, unlabeled")
    walk.click(page.get_by_title("Order of the images"))
    walk.click(page.locator("#sort-menu").get_by_role("link", name="Name"))
    page.wait_for_url("**sort=name**")
    for label in ("roses", "daisy"):
        label_images(walk, label)
    address = page.url.split("/label-data/")[0]
    walk.see("Label Data, labeled")
    train(walk)
    deploy(walk, photos[0])
    return address


def label_images(walk: Walk, label: str) -> None:
    """The first image, the last one with Shift, the name of the label: sorted by name they are neighbours."""
    of_label = walk.page.locator(f"#tiles [role=option][title^='{label}-']")
    walk.click(of_label.first)
    walk.click(of_label.last, modifiers=["Shift"])
    walk.type(walk.page.locator("#label-input"), label)
    walk.press("Enter")
    walk.press("Enter")
    of_label.first.wait_for(state="detached")


def train(walk: Walk) -> None:
    page = walk.page
    walk.click(page.locator(".project-bar").get_by_role("link", name="Train", exact=True))
    page.get_by_role("heading", name="Training Configuration").wait_for()
    walk.see("Training Configuration")
    walk.click(page.get_by_role("button", name="Next"))
    page.get_by_role("heading", name="Confirm the specifications").wait_for()
    walk.see("Confirm the specifications")
    walk.click(page.get_by_role("button", name="Submit"))
    page.wait_for_url("**/train-model/**")
    page.locator("#version .badge", has_text="Running").wait_for(timeout=120_000)
    walk.see("Train Model, Running")
    page.locator("#version .badge", has_text="Completed").wait_for(timeout=TRAINED_WITHIN_MS)
    walk.see("Train Model, Completed")


def deploy(walk: Walk, photo: Path) -> None:
    page = walk.page
    walk.click(page.locator("#version").get_by_role("link", name="Deploy"))
    button = page.locator("#deploy-dialog").get_by_role("button", name="Deploy")
    button.wait_for()
    walk.see("Deploy")
    walk.click(button)
    page.locator(".badge", has_text="Running").first.wait_for(timeout=120_000)
    walk.see("Deploy Service")
    walk.actions += 2  # the button, and the choice of the file
    page.locator("#id_image").set_input_files(photo)
    page.wait_for_timeout(1000)
    if not page.locator("#prediction-result[data-answer]").count():
        walk.click(page.locator("#prediction-button"))
    page.locator("#prediction-result[data-answer]").wait_for(timeout=60_000)
    walk.see("Prediction")


def links(page: Any, address: str) -> dict[str, str]:
    """Pages of the project: those that its pages link to, each kind once."""
    kinds: dict[str, str] = {}
    for start in ("label-data/", "train-model/", "train-model/1/", "services/"):
        page.goto(f"{address}/{start}")
        for found in page.evaluate("[...document.querySelectorAll('a[href]')].map(link => link.pathname)"):
            kind = re.sub(r"\d+", "N", found.removeprefix("/"))
            if "." not in kind and "sign-out" not in kind and not kind.endswith(("archive/", "report/")):
                kinds.setdefault(kind, found)
    return kinds


def print_pages(page: Any, address: str, pictures: Path | None) -> None:
    print(f"\n{'page':64}{'words on the screen':>22}{'on the page':>14}{'first picture at':>18}")
    for kind, path in sorted(links(page, address).items()):
        answer = page.goto(path)
        page.wait_for_timeout(700)
        if answer is None or answer.status != 200:
            continue
        screen, whole = page.evaluate(WORDS)
        top = page.evaluate(FIRST_PICTURE)
        print(f"{kind:64}{screen:>22}{whole:>14}{'-' if top is None else f'{top} px':>18}")
        if pictures:
            page.screenshot(path=str(pictures / f"{kind.strip('/').replace('/', '_')}.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="a folder for screenshots of every step and page")
    pictures = parser.parse_args().pictures
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Product(Path(folder) / "data") as product,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_ARGUMENTS)
        context = browser.new_context(base_url=product.url, viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.set_default_timeout(30_000)
        walk = Walk(page, pictures)
        address = use(walk, Path(folder) / "photos")
        walk.print()
        print_pages(page, address, pictures)
        browser.close()


if __name__ == "__main__":
    main()

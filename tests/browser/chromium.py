"""Helpers of the browser tests: the path of Chromium, axe's findings, screenshots."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# The headless shell is the same engine without the windows around it: a page costs it a third.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")


def find_chromium() -> str:
    """The path of Chromium; without it the test is skipped, or fails if EXEML_REQUIRE asks for a browser."""
    found = os.environ.get("EXEML_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found:
        return found
    reason = "Chromium is not installed (Debian package chromium-headless-shell or chromium)."
    if "browser" in os.environ.get("EXEML_REQUIRE", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def check_accessibility(page: Any) -> None:
    """Assert that axe finds nothing on the page: WCAG 2.1 A and AA, landmarks, order of headings."""
    from axe_playwright_python.sync_playwright import Axe

    more = {key: {"enabled": True} for key in ("heading-order", "landmark-unique", "landmark-one-main")}
    kinds = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    result = Axe().run(page, options={"runOnly": kinds, "rules": more, "resultTypes": ["violations"]})
    assert result.violations_count == 0, result.generate_report()


CUT = """() => {
  const width = document.documentElement.clientWidth;
  const shown = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility());
  const style = (node) => getComputedStyle(node);
  const isCut = (node) => node.scrollWidth > node.clientWidth + 1 && style(node).display !== "inline";
  const isMeant = (node) => node.matches(".cut, .visually-hidden") || node.querySelector(".cut");
  const texts = shown.filter((node) => node.matches("button, summary, label, h1, p, dt, dd, .button"))
    .filter((node) => isCut(node) && !isMeant(node));
  const scrolls = (node) => node && (style(node).overflowX !== "visible" || scrolls(node.parentElement));
  const isOut = (node) => node.getBoundingClientRect().right > width + 1 && !scrolls(node.parentElement);
  const out = document.documentElement.scrollWidth > width ? shown.filter(isOut).slice(0, 4) : [];
  const words = (node) => node.textContent.trim().replace(/\\s+/g, " ").slice(0, 60);
  const name = (node) => `${node.tagName}.${node.className} ${words(node)}`;
  return [...texts.map((node) => "cut: " + name(node)), ...out.map((node) => "out: " + name(node))];
}"""


def cut_texts(page: Any) -> list[str]:
    """The texts that are wider than their place, and where the page is wider than the screen."""
    found: list[str] = page.evaluate(CUT)
    return found


def speak(page: Any, language: str) -> None:
    """Let the pages of this browser be in a language."""
    page.context.add_cookies([{"name": "django_language", "value": language, "url": page.url}])


def take_screenshot(page: Any, name: str) -> None:
    """Store a screenshot of the page if EXEML_SCREENSHOTS names a folder."""
    folder = os.environ.get("EXEML_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))

"""Evaluation and comparison of versions in a real browser: cells, keys, sliders, narrow and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.urls import reverse

from exeml_site.lib.display import percent
from projects.datasets import publish
from projects.models import DatasetVersion, Project, Split
from tests.browser.chromium import check_accessibility, cut_texts, speak, take_screenshot
from tests.factories import make_project, make_version
from training.engine import CandidateReport
from training.engine.config import CommonScore
from training.engine.evaluation.evaluate import SamplePrediction
from training.jobs import record
from training.models import Status, StopReason, TrainingVersion

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
NAMES = ("red", "green", "a label with a name as long as sixty-four characters allow it !")
LITE = "EfficientNet-Lite0"
CANDIDATES = [
    CandidateReport(
        LITE,
        224,
        "linear head",
        0.91,
        4.2,
        False,
        True,
        9.4,
        False,
        place=0,
        common=CommonScore(50, 45, 0.3, 1),
    ),
    CandidateReport(
        LITE,
        224,
        "fine-tuned",
        0.94,
        4.2,
        False,
        True,
        99.4,
        True,
        place=1,
        common=CommonScore(50, 47, 0.2, 1),
    ),
]


def complete(project: Project, number: int, labels: tuple[str, ...], skill: float) -> TrainingVersion:
    """A Completed version with an accuracy of about `skill`."""
    dataset = DatasetVersion.objects.create(
        project=project, name=f"V{number:03d}", training_ratio=Decimal("0.5")
    )
    publish.publish(dataset)
    version = make_version(
        project,
        number,
        Status.COMPLETED,
        stop_reason=StopReason.CONVERGED,
        ran_on="CPU, 2 threads",
        model_bytes=13_630_000,
        inference_ms=4.2,
        progress={"used_s": 276.4, "curve": [[4, 0.5], [276, 0.94]]},
    )
    dice, found = np.random.default_rng(number), []
    for image in project.images.filter(split=Split.EVAL).order_by("pk"):
        true = labels.index(image.annotations.get().label.name)
        raw = dice.random(len(labels)) ** 4
        raw[true] += 2.0 if dice.random() < skill else 0.0
        scores = raw / raw.sum()
        best = labels[int(scores.argmax())]
        familiar = float(dice.random())
        found.append(
            SamplePrediction(str(image.pk), (labels[true],), (best,), tuple(scores), familiar > 0.1, familiar)
        )
    record.record(version, labels, found, CANDIDATES)
    return version


@pytest.fixture
def versions(bundle: Path) -> Iterator[list[TrainingVersion]]:
    """Two versions of a project with real images; the newer one has a fitted model."""
    project = make_project("colours", labels=3, images=30, with_files=True)
    for label, name in zip(project.labels.order_by("position"), NAMES, strict=True):
        label.name = name
        label.save()
    made = [complete(project, 1, NAMES, 0.5), complete(project, 2, NAMES, 0.9)]
    folder = Path(default_storage.path(made[1].folder))
    shutil.copytree(bundle, folder / "bundle")
    TrainingVersion.objects.filter(pk=made[1].pk).update(
        title="before the move",
        note="Old lamps, new lens.",
        is_starred=True,
        learning={NAMES[2]: [15, 0.7, 0.05, 0.01, 0.09]},
    )
    yield made
    shutil.rmtree(folder)


def address(version: TrainingVersion, view: str = "training_version") -> str:
    return reverse(view, args=[version.project_id, version.number])


def test_from_a_cell_to_an_image_to_its_label(versions: list[TrainingVersion], open_page: Any) -> None:
    page = open_page("alice")
    page.goto(address(versions[1], "confusion_matrix"))
    check_accessibility(page)
    take_screenshot(page, "inside-confusion")
    cell = page.locator(".matrix .is-wrong a").first
    count = int(cell.inner_text())
    cell.click()
    page.locator("#evaluated").wait_for()
    assert page.locator(".evaluated-tile").count() == count
    page.goto(address(versions[1], "evaluated_images"))
    page.wait_for_load_state()
    check_accessibility(page)
    take_screenshot(page, "inside-images")
    page.locator(".evaluated-tile").first.click()
    page.locator("#accept").wait_for()
    page.wait_for_load_state("networkidle")
    predicted = page.locator("#accept").get_attribute("value")
    check_accessibility(page)
    take_screenshot(page, "inside-image")
    name = page.locator(".inside-pictures figcaption").first.inner_text()
    page.keyboard.press("+")
    page.locator(".message-success").wait_for()
    assert name in page.locator(".message-success").inner_text()
    page.wait_for_load_state()
    before = page.url
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(lambda url: url != before)
    page.wait_for_load_state()
    assert f"Labeled {predicted} now" in page.locator("[aria-labelledby=said-title]").inner_text()
    page.keyboard.press("Backspace")
    page.locator("#evaluated").wait_for()


def test_the_heat_map_of_a_real_model_is_shown(versions: list[TrainingVersion], open_page: Any) -> None:
    page = open_page("vera")
    page.goto(f"{address(versions[1], 'evaluated_images')}?outcome=all&predicted=red")
    page.locator(".evaluated-tile").first.click()
    page.locator("#heat").evaluate("img => img.decode()")  # fails if it is not an image
    first = page.locator("#heat").get_attribute("src")
    page.locator("[data-heat=green]").click()
    page.locator("#heat[src$='label=green']").evaluate("img => img.decode()")
    assert page.locator("#heat").get_attribute("src") != first
    assert page.locator("#accept").count() == 0  # a Viewer cannot relabel


def test_a_version_whose_model_is_gone_says_so_in_place_of_the_heat_map(
    versions: list[TrainingVersion], open_page: Any
) -> None:
    page = open_page("vera")
    page.goto(f"{address(versions[0], 'evaluated_images')}?outcome=all")
    page.locator(".evaluated-tile").first.click()
    page.get_by_text("This version has no heat maps.").wait_for()


def test_time_is_added_from_the_page(versions: list[TrainingVersion], open_page: Any) -> None:
    page = open_page("alice")
    page.goto(address(versions[1]))
    page.wait_for_load_state("networkidle")
    page.locator("#add-time").click()
    for hours in ("0.01", "0.1"):  # as a dialog, or as a page if the script was too slow
        page.get_by_label("Max. Training Time").fill(hours)
        page.get_by_role("button", name="Continue training").click()
        if hours == "0.01":
            page.locator(".field-error").wait_for()
            page.wait_for_load_state("networkidle")
            check_accessibility(page)
    page.get_by_text("V003 continues the training of V002 on the same images.").wait_for()
    assert TrainingVersion.objects.get(number=3).max_training_minutes == 6


def test_the_first_screen_of_a_version_shows_result_pictures_advice_and_parameters(
    versions: list[TrainingVersion], open_page: Any
) -> None:
    page = open_page("alice", width=1440, height=900)
    page.goto(address(versions[1]))
    page.wait_for_load_state("networkidle")
    for title in ("result-title", "surest-title", "advice-title", "parameters-title"):
        assert page.locator(f"#{title}").bounding_box()["y"] < 700, title
    assert page.locator(".surest-image img").last.bounding_box()["y"] < 600


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_head_and_tabs_stand_in_one_place_on_all_pages_of_a_version(
    width: int, versions: list[TrainingVersion], open_page: Any
) -> None:
    page = open_page("alice", width=width, height=900)
    page.goto(address(versions[1]))
    places, names = [], page.locator(".version-tabs a").all_inner_texts()
    assert len(names) >= 7
    for name in names:
        page.locator(".version-tabs").get_by_role("link", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        page.locator(".version-tabs [aria-current=page]", has_text=name).wait_for()
        page.wait_for_load_state("networkidle")
        tab = page.locator(".version-tabs [aria-current=page]").bounding_box()
        assert tab["x"] >= 0 and tab["x"] + tab["width"] <= width, f"{name} is out of sight"
        parts = ("#version-title", "#star", "#add-time", ".version-tabs")
        places.append([page.locator(part).bounding_box() for part in parts])
    assert all(place == places[0] for place in places)


def test_the_statistics_scroll_with_the_page_under_their_header(
    versions: list[TrainingVersion], open_page: Any
) -> None:
    page = open_page("vera", width=1440, height=500)
    page.goto(address(versions[1], "version_labels"))
    page.locator(".statistics tbody tr").last.scroll_into_view_if_needed()
    page.mouse.wheel(0, 260)
    page.wait_for_function("() => scrollY > 200")
    assert page.locator(".statistics thead th").first.bounding_box()["y"] >= 0
    boxes = page.locator("#version *").evaluate_all(
        "all => all.filter(one => one.scrollHeight > one.clientHeight + 1"
        " && /auto|scroll/.test(getComputedStyle(one).overflowY) && one.clientHeight).length"
    )
    assert boxes == 0


def test_the_script_rounds_shares_as_the_server_does(versions: list[TrainingVersion], open_page: Any) -> None:
    page = open_page("vera")
    page.goto(address(versions[1]))
    shares = [hits / support for support in (*range(1, 60), 80, 400) for hits in range(support + 1)]
    found = page.evaluate(
        "async shares => { const { percent } = await import('/static/js/display.js');"
        " return shares.map(percent); }",
        shares,
    )
    assert found == [percent(share) for share in shares]


def test_the_pages_of_an_evaluation_look_right_everywhere(
    versions: list[TrainingVersion], open_page: Any
) -> None:
    newest = versions[1]
    project = newest.project_id
    image = reverse("evaluated_image", args=[project, 2, newest.evaluated_images.first().pk])
    pages = {
        "overview": address(newest),
        "labels": address(newest, "version_labels"),
        "candidates": address(newest, "version_candidates"),
        "details": address(newest, "version_details"),
        "images": address(newest, "evaluated_images") + "?outcome=all",
        "image": image,
        "confusion": address(newest, "confusion_matrix"),
        "thresholds": address(newest, "thresholds"),
        "compare": reverse("compare_versions", args=[project]),
        "datasets": reverse("dataset_versions", args=[project]),
        "dataset": reverse("dataset_version", args=[project, "V002"]),
        "differences": reverse("dataset_differences", args=[project, "V002"]) + "?from=V001",
        "add-time": address(newest, "add_time"),
        "delete": address(versions[0], "delete_training_version"),
        "restore": reverse("restore_labels", args=[project, "V001"]),
    }
    for width, scheme in ((1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")):
        page = open_page("alice", width=width, height=900, scheme=scheme)
        for name, url in pages.items():
            page.goto(url)
            page.wait_for_load_state("networkidle")
            check_accessibility(page)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide on a screen of {width}"
            take_screenshot(page, f"inside-{name}-{width}-{scheme}")


def test_no_page_of_a_version_is_cut_in_german_on_a_telephone(
    versions: list[TrainingVersion], open_page: Any
) -> None:
    page = open_page("alice", width=390, height=844)
    page.goto(address(versions[1]))
    speak(page, "de")
    found = dict[str, list[str]]()
    for name in (
        "training_version",
        "version_labels",
        "evaluated_images",
        "confusion_matrix",
        "thresholds",
        "version_slices",
        "version_evaluations",
        "version_candidates",
        "version_details",
    ):
        page.goto(address(versions[1], name))
        page.wait_for_load_state("networkidle")
        found[name] = cut_texts(page)
        take_screenshot(page, f"german-{name}")
    assert {name: texts for name, texts in found.items() if texts} == {}

"""A shadow version in a real browser: added, judged picture by picture, stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.urls import reverse

from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import give_bundle
from tests.training.serving.shadows import call, make_rival, work_off
from training.models import CollectedCall, Service, Status
from training.serving import deploy, rollout
from training.serving.calls import shadow

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, str]]:
    """A collecting service of V001, beside V002, which takes red for blue."""
    monkeypatch.setattr(shadow, "_waiting", shadow.Waiting())
    project = make_project("colours", labels=3, images=3, with_files=True)
    for label, name in zip(project.labels.order_by("position"), ("red", "green", "blue"), strict=True):
        label.name = name
        label.save()
    version, rival = make_version(project, 1, Status.COMPLETED, accuracy=0.9), make_rival(project)
    give_bundle(version)
    service, token = deploy.deploy(version, make_user("alice"), 1)
    deploy.bring_up(str(service.pk))
    deploy.set_collecting(service, True, 30, make_user("alice"))
    service.refresh_from_db()
    yield service, token.plain
    for folder in (version.folder, rival.folder, "services"):
        shutil.rmtree(Path(default_storage.path(folder)), ignore_errors=True)


def test_a_shadow_is_added_judged_and_stopped(opened: tuple[Service, str], open_page: Any) -> None:
    service = opened[0]
    address = reverse("service_monitoring", args=[service.project_id, service.pk])
    page = open_page("alice", width=1280)
    page.goto(address)
    page.get_by_role("link", name="Add a shadow version").click()
    page.locator("#change-dialog[open]").wait_for()
    assert page.get_by_label("None, as a shadow").is_checked()
    take_screenshot(page, "shadow-dialog")
    page.locator("#change-dialog").get_by_role("button", name="Change").click()
    page.get_by_text("V002 is being loaded and tested as the shadow version").wait_for()
    rollout.change_over(str(service.pk))  # what the worker does
    page.get_by_role("link", name="Compare with V002").wait_for()
    take_screenshot(page, "shadow-service")
    for seed, colour in enumerate(("red", "green", "blue", "green", "red", "blue", "red", "red", "blue")):
        call(opened, colour, seed)
    work_off()
    page.goto(address)
    tiles = page.locator("#disagreements li")
    assert tiles.count() == 7
    for place in range(6):
        tile = tiles.nth(place)
        answer = tile.locator("p").first.inner_text().split()[1]
        tile.get_by_role("button", name=answer, exact=True).click()
        tile.get_by_text("Judged right").wait_for()
    assert CollectedCall.objects.filter(verdict="right").count() == 6
    page.goto(address)
    page.get_by_text("There is no reliable difference between V002 and V001 yet").wait_for()
    check_accessibility(page)
    for width, scheme in ((1280, "light"), (390, "dark")):
        other = open_page("alice", width=width, height=2600, scheme=scheme)
        other.goto(address)
        other.wait_for_load_state("networkidle")
        assert other.evaluate("document.documentElement.scrollWidth") <= width
        take_screenshot(other, f"shadow-{width}-{scheme}")
    page.get_by_role("link", name="Stop the shadow version").click()
    page.locator("#question-dialog[open]").get_by_text("Stop the shadow version V002?").wait_for()
    take_screenshot(page, "shadow-question")
    page.locator("#question-dialog").get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped. Its last answer was on").wait_for()
    service.refresh_from_db()
    assert service.canary_version is None

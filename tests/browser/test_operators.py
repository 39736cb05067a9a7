"""The operators' page in a real browser: nothing is cut off on a telephone, and axe finds nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.browser.chromium import check_accessibility
from tests.factories import PASSWORD, make_project, make_version
from tests.projects.operators.test_machines import make_machine
from training.models import Service, Status

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG = "gpu-worker-17.machines.of.a.long.internal.name.example.org"


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_long_names_fit_and_everything_can_be_reached(open_page: Any, width: int, scheme: str) -> None:
    project = make_project("project-of-the-longest-name-0000", labels=0)
    make_version(project, 1, Status.RUNNING)
    make_version(project, 2, Status.FAILED, failure_cause="/a/path/" + "without/a/space/" * 20)
    version = make_version(project, 3, Status.COMPLETED)
    Service.objects.create(
        project=project, training_version=version, name=f"exeML-{project}-V003", status="Failed"
    )
    make_machine(LONG, data_folder="/srv/" + "folder" * 20, disk_usage={"caches": 3 << 30}, disk_free=1)
    User.objects.create_superuser("operator", password=PASSWORD)
    page = open_page("operator", width=width, scheme=scheme)
    page.goto("/admin/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("link", name=f"The disk of {LONG}").click()
    assert page.evaluate("location.hash") == "#machines"
    check_accessibility(page)
    page.get_by_role("link", name="Stop project-of-the-longest-name-0000 V001").click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Asked to stop: ").wait_for()

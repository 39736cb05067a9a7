"""The page of the notices, and what a browser in the background says when a training has ended."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.chromium import check_accessibility
from tests.browser.test_accounts import look
from tests.factories import make_project, make_user, make_version
from training.models import Status, TrainingVersion

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

# A window that nobody looks at, and the notices that it shows.
IN_THE_BACKGROUND = """
    window.shown = [];
    window.Notification = class extends EventTarget {
        static permission = "granted";
        constructor(title, options) { super(); window.shown.push(options.body); }
    };
    Object.defineProperty(document, "hidden", { get: () => true });
"""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_is_accessible_and_keeps_a_choice(
    open_page: Any, width: int, scheme: str, settings: Any
) -> None:
    settings.MAIL = {"EMAIL_HOST": "mail"}
    page = open_page("bob", width=width, scheme=scheme)
    type(make_user("bob")).objects.filter(username="bob").update(email="bob@example.org")
    page.goto("/notices/")
    check_accessibility(page)
    look(page, f"notices-{width}-{scheme}")
    assert page.get_by_label("Somebody assigned images to me").is_checked()
    page.get_by_label("Somebody assigned images to me").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved.").wait_for()
    assert not page.get_by_label("Somebody assigned images to me").is_checked()


def test_a_page_in_the_background_says_that_a_training_ended(open_page: Any) -> None:
    project = make_project()
    version = make_version(project, 1, Status.RUNNING)
    page = open_page("alice")
    page.add_init_script(IN_THE_BACKGROUND)
    page.goto(f"/projects/{project.pk}/train-model/1/")
    page.get_by_role("heading", name="V001").first.wait_for()
    ended = {
        "status": Status.FAILED,
        "failure_cause": "The memory was full.",
        "finished_at": version.started_at,
    }
    TrainingVersion.objects.filter(pk=version.pk).update(**ended)
    page.locator("#version-news", has_text="V001 is Failed.").wait_for(state="attached")
    page.wait_for_timeout(200)  # the page is settled after the swap
    assert page.evaluate("window.shown") == ["V001 is Failed."]
    assert page.title() == "● V001 is Failed."

"""The pages of webhooks in a real browser: created, tested, and the log that shows the result by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from projects.models import Webhook
from projects.webhooks import deliver
from tests.browser.chromium import check_accessibility, cut_texts, take_screenshot
from tests.factories import make_project, make_team
from tests.projects.webhooks.receivers import answer, make_webhook, receiver

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def test_a_manager_creates_a_webhook_and_sees_what_was_sent(open_page: Open, settings: Any) -> None:
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    project = make_project(images=0)
    page = open_page("alice")
    page.goto(reverse("team_webhooks", args=[project.team_id]) + f"?project={project.pk}")
    take_screenshot(page, "webhooks-none")
    page.get_by_role("link", name="New webhook").click()
    take_screenshot(page, "webhooks-new")
    check_accessibility(page)
    with receiver() as made:
        made.answer = lambda handler: answer(handler, 500, b"The database of the receiver is being upgraded.")
        page.get_by_label("URL").fill(made.url)
        page.get_by_role("button", name="Create").click()
        page.get_by_text("Copy the secret now.").wait_for()
        take_screenshot(page, "webhook-secret")
        page.get_by_role("button", name="Send a test").click()
        page.get_by_text("A test event is being sent.").wait_for()
        deliver.deliver()
    page.get_by_text("HTTP 500").wait_for()  # without a reload
    Webhook.objects.update(is_on=False, off_cause=deliver.FAILING, off_at=timezone.now())
    make_webhook("https://hooks.example.org/" + "long/" * 30, project, is_of_team=True)
    for width, scheme in ((1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")):
        page = open_page("alice", width=width, scheme=scheme)
        for name, path in (
            ("webhook", reverse("show_webhook", args=[make_team().pk, Webhook.objects.first().pk])),
            ("webhooks", reverse("team_webhooks", args=[make_team().pk])),
        ):
            page.goto(path)
            take_screenshot(page, f"{name}-{width}-{scheme}")
            check_accessibility(page)
            assert cut_texts(page) == []

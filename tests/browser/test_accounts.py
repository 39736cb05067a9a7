"""Signing in and out as people do it, and the operators' pages under their policy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from projects.workspace.initial_password import require_change
from tests.factories import PASSWORD, make_project, make_team, make_user

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NEW_PASSWORD = "another good password 9"


def sign_in(page: Any, name: str, password: str) -> None:
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def look(page: Any, name: str) -> None:
    """A screenshot, where EXEML_SCREENSHOTS names a folder."""
    if folder := os.environ.get("EXEML_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_first_password_is_changed_before_anything_else(open_page: Any, width: int, scheme: str) -> None:
    make_team()
    require_change(User.objects.get(username="alice"))
    page = open_page(width=width, scheme=scheme)
    sign_in(page, "alice", PASSWORD)
    page.get_by_text("Choose a password of your own first").wait_for()
    look(page, f"first-password-{width}")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    page.get_by_label("New password again").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Change password").click()
    page.get_by_text("Your password has been changed").wait_for()
    assert page.url.endswith("/projects/")


def test_back_after_signing_out_shows_nothing_private(open_page: Any) -> None:
    project = make_project("secret-flowers")
    page = open_page("alice")
    page.goto(f"/projects/{project.pk}/label-data/")
    page.get_by_text("secret-flowers").first.wait_for()
    page.goto("/projects/")
    page.evaluate("document.querySelector('form[action=\"/sign-out/\"]').submit()")
    page.wait_for_url("**/sign-in/")
    for _ in range(2):
        page.go_back()
        page.wait_for_load_state()
        assert "secret-flowers" not in page.content()
        assert "/sign-in/" in page.url


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize(
    "path",
    [
        "/admin/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/projects/project/",
        "/admin/projects/team/add/",
        "/admin/projects/failedattempts/",
        "/admin/rq/",
        "/admin/rq/queues/0/",
        "/admin/rq/workers/0/",
    ],
)
def test_the_operators_pages_break_no_rule_of_their_policy(open_page: Any, path: str) -> None:
    make_user("alice", is_superuser=True, is_staff=True)
    User.objects.filter(username="alice").update(is_superuser=True, is_staff=True)
    page = open_page("alice")
    refused: list[str] = []
    page.on(
        "console",
        lambda message: refused.append(message.text) if "Content Security" in message.text else None,
    )
    page.on("pageerror", lambda error: refused.append(str(error)))
    page.goto(path)
    page.wait_for_load_state("networkidle")
    look(page, "admin" + path.replace("/", "-"))
    assert page.title()
    assert refused == []

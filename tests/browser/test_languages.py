"""Languages in the browser: the menu, the texts of scripts, and no text cut at the width of a telephone."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from tests.browser.chromium import cut_texts, speak
from tests.factories import make_project

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_visitor_chooses_german_and_nothing_is_cut_on_a_telephone(open_page: Any) -> None:
    page = open_page(width=390, height=844)
    page.goto("/sign-in/")
    page.locator("summary", has_text="English").click()
    page.get_by_role("button", name="Deutsch").click()
    page.get_by_role("heading", name="Anmelden").wait_for()
    assert page.locator("html").get_attribute("lang") == "de"
    assert cut_texts(page) == []


def test_a_person_chooses_in_the_account_menu_and_scripts_follow(open_page: Any) -> None:
    page = open_page("alice", width=390, height=844)
    page.goto("/password/")
    page.locator("summary", has_text="alice").click()
    page.get_by_role("button", name="Deutsch").click()
    page.get_by_role("heading", name="Passwort ändern").wait_for()
    assert page.url.endswith("/password/")
    assert cut_texts(page) == []
    page.locator("summary", has_text="Hilfe").click()
    page.locator("[data-keys-open]").click()
    page.get_by_role("heading", name="Tasten dieser Seite").wait_for()
    assert page.get_by_text("Zu den Meldungen").is_visible()


def test_no_page_of_a_project_is_cut_in_german_on_a_telephone(open_page: Any) -> None:
    project = make_project(labels=3, images=4, unlabeled=9, with_files=True).pk
    page = open_page("alice", width=390, height=844)
    page.goto(reverse("project_list"))
    speak(page, "de")
    page.reload()
    found = {"project_list": cut_texts(page)}
    for name in (
        "label_data",
        "data_check",
        "metadata_columns",
        "transfers",
        "dataset_versions",
        "history",
        "people",
        "final_test",
        "train_model",
        "configure_training",
        "deploy_service",
    ):
        page.goto(reverse(name, args=[project]))
        page.wait_for_load_state("networkidle")
        assert page.locator("html").get_attribute("lang") == "de"
        found[name] = cut_texts(page)
    assert {name: texts for name, texts in found.items() if texts} == {}

"""The language of a page: chosen by the person, by the browser, or asked for by the browser."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from exeml_site.languages.script_texts import script_texts_url
from projects.models import ChosenLanguage
from tests.factories import PASSWORD, make_team
from tests.pages import html_of


def language_of(client: Client, path: str = "/sign-in/", asked: str = "") -> str:
    answer = client.get(path, headers={"Accept-Language": asked} if asked else {})
    assert f'<html lang="{answer.headers["Content-Language"]}">' in html_of(answer)
    return answer.headers["Content-Language"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("", "en"),
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("zh-CN", "zh-hans"),
        ("pt,fr;q=0.4", "fr"),
        ("xx", "en"),
    ],
)
def test_a_page_has_the_language_that_the_browser_asks_for(client: Client, asked: str, language: str) -> None:
    assert language_of(client, asked=asked) == language
    assert language_of(client) == "en"


@pytest.mark.django_db
def test_a_choice_before_signing_in_stays_with_the_browser(client: Client) -> None:
    answer = client.post("/language/", {"language": "ja", "next": "/sign-in/"})
    assert answer.headers["Location"] == "/sign-in/"
    assert language_of(client, asked="de") == "ja"
    assert not ChosenLanguage.objects.exists()


def test_a_choice_of_a_person_holds_in_every_browser(alice: Client) -> None:
    alice.post("/language/", {"language": "es", "next": "/projects/"})
    assert language_of(alice, "/projects/", asked="de") == "es"
    elsewhere = Client()
    elsewhere.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert language_of(elsewhere, "/projects/", asked="fr") == "es"
    elsewhere.post("/language/", {"language": "fr"})
    assert ChosenLanguage.objects.get().code == "fr"


@pytest.mark.parametrize("language", ["", "xx", "en-latin", "../de"])
def test_an_unknown_language_is_refused_and_nothing_changes(alice: Client, language: str) -> None:
    assert alice.post("/language/", {"language": language}).status_code == 400
    assert not ChosenLanguage.objects.exists()


def test_a_choice_is_a_post_and_leads_to_no_other_site(alice: Client) -> None:
    assert alice.get("/language/").status_code == 405
    answer = alice.post("/language/", {"language": "de", "next": "https://evil.example/"})
    assert answer.headers["Location"] == "/"


@pytest.mark.django_db
def test_the_menu_names_each_language_in_itself(client: Client) -> None:
    make_team()
    html = html_of(client.get("/sign-in/"))
    assert [name for _, name in settings.LANGUAGES if name not in html] == []


@pytest.mark.django_db
def test_programs_are_answered_in_english(client: Client) -> None:
    answer = client.post("/v1/infers/none", headers={"Accept-Language": "de"})
    assert answer.headers["Content-Language"] == "en"
    assert "Accept-Language" not in answer.headers.get("Vary", "")


def test_the_texts_of_scripts_are_kept_by_language_and_version(client: Client) -> None:
    answer = client.get(script_texts_url())
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert "max-age=31536000" in answer.headers["Cache-Control"] and b"ngettext" in answer.content
    assert "max-age=0" in client.get("/texts.js?language=de&version=old").headers["Cache-Control"]
    assert client.get("/texts.js?language=xx").status_code == client.get("/texts.js").status_code == 404

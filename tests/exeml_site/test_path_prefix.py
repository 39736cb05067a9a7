"""The site below a path of its host, as a browser behind a proxy sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from exeml_site.environment import env_path
from tests.supervisor_process import ROOT, Product

PREFIX = "/exeml"
PROJECT = """
from projects.models import Team
from tests.factories import make_project
make_project("flowers", images=5, with_files=True, team=Team.objects.get(name="My team"))
"""


class Addresses(HTMLParser):
    """What a page names that begins with a slash, in any attribute; `files` are loaded with the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: set[str] = set()
        self.files: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value and value.startswith("/"):
                self.all.add(value)
                if name == "src" or tag == "link":
                    self.files.add(value)


def is_below(address: str) -> bool:
    return address == PREFIX or address.startswith(f"{PREFIX}/")


def load(site: Product, file: str) -> None:
    """Raises where there is nothing."""
    with site.opener.open(f"http://127.0.0.1:{site.port}{file}", timeout=60) as answer:
        answer.read()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, give_database: Callable[[Path], Path]
) -> Iterator[Product]:
    folder = give_database(tmp_path_factory.mktemp("prefix") / "data")
    product = Product(folder, EXEML_PATH_PREFIX=f"{PREFIX}/", EXEML_ONLY="web")
    (folder / "sample-made").touch()  # ten images suffice
    product.url += PREFIX
    with product:
        command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", PROJECT]
        subprocess.run(command, cwd=ROOT, env=product.environment, check=True, timeout=300)
        product.sign_in()
        yield product


@pytest.mark.slow
def test_every_page_stays_below_the_path(site: Product) -> None:
    project = f"/projects/{site.project_id('flowers')}"
    paths = ["/projects/", f"{project}/label-data/", f"{project}/train-model/", f"{project}/datasets/"]
    paths += [
        f"{project}/train-model/configure/",
        f"{project}/deploy-service/",
        "/v1/",
        "/api/",
        "/admin/",
        "/admin/rq/",
    ]
    files: set[str] = set()
    for path in paths:
        found = Addresses(site.get(path))
        assert found.all and all(map(is_below, found.all)), path
        files |= found.files
    for file in files:
        load(site, file)
    assert any("/thumbnails/" in file for file in files) and any("/static/" in file for file in files)


@pytest.mark.slow
def test_pages_of_errors_stay_below_the_path(site: Product) -> None:
    for path, status in (("/projects/999/label-data/", 404), ("/projects/?q=%00", 400)):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            site.get(path)
        found = Addresses(refusal.value.read().decode())
        assert refusal.value.code == status
        assert found.files and all(map(is_below, found.all))
        for file in found.files:
            load(site, file)


@pytest.mark.slow
def test_cookies_are_sent_below_the_path_only_and_have_names_of_their_own(site: Product) -> None:
    assert {cookie.path for cookie in site.cookies} == {PREFIX}
    names = {cookie.name for cookie in site.cookies}
    assert {"exeml_sessionid", "exeml_csrftoken"} <= names and "sessionid" not in names


@pytest.mark.slow
def test_a_form_is_sent_and_what_follows_lies_below_the_path(site: Product) -> None:
    values = site.form_values(site.get("/projects/new/")) | {"name": "below"}
    address, page = site.post("/projects/new/", values)
    assert address.startswith(f"{site.url}/projects/") and "below" in page


@pytest.mark.slow
def test_a_proxy_may_take_the_path_away(site: Product) -> None:
    whole = site.get("/v1/openapi.json")
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/v1/openapi.json") as answer:
        assert answer.read().decode() == whole
    assert json.loads(whole)["servers"][0]["url"] == site.url


@pytest.mark.parametrize(
    ("given", "prefix"),
    [("", ""), ("/", ""), ("/exeml", "/exeml"), ("exeml/", "/exeml"), ("/a/b-c", "/a/b-c")],
)
def test_a_path_is_read_with_and_without_slashes(
    given: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXEML_PATH_PREFIX", given)
    assert env_path("EXEML_PATH_PREFIX") == prefix


@pytest.mark.parametrize("given", ["/a b", "/a?b", "/../x", "/ä", "/a//b"])
def test_what_is_no_path_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXEML_PATH_PREFIX", given)
    with pytest.raises(ImproperlyConfigured, match="EXEML_PATH_PREFIX must be a path"):
        env_path("EXEML_PATH_PREFIX")

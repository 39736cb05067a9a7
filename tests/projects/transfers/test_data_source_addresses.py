"""Addresses that people enter never decide which server is asked, nor lead out of the operator's root."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projects.transfers import data_source
from projects.transfers.file_sources import S3Source
from tests.factories import make_project

ENDPOINT = "http://storage.example:9000"
ROOTS = [f"s3://flowers/photos?endpoint={ENDPOINT}&region=eu", "s3://other"]
OPTIONS = {"endpoint_url": ENDPOINT, "region_name": "eu"}
PIECES = [
    "?",
    "#",
    "&",
    "%3F",
    "%23",
    "?endpoint=http://169.254.169.254",
    "#?endpoint=http://evil",
    "/",
    "//",
    "..",
    "\\",
    "@evil",
    ":80",
    "x",
    "endpoint=http://evil",
    " ",
    "\n",
    "\0",
    "\ud800",
    "？",
    "；",
    "s3://",
    "flowers",
    "photos",
]
search = settings(
    max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def roots(settings: Any) -> None:
    settings.EXEML_SOURCE_ROOTS = ROOTS


def source(address: str) -> S3Source | None:
    try:
        opened = data_source.open_source(address)
    except ValidationError:
        return None
    assert isinstance(opened, S3Source)
    return opened


@search
@given(pieces=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=6))
def test_the_options_of_an_address_are_those_of_its_root(roots: None, pieces: list[str]) -> None:
    opened = source("s3://flowers/photos" + "".join(pieces))
    if opened is not None:
        assert opened._options == OPTIONS
        assert opened._bucket == "flowers" and opened._prefix.startswith("photos/")
        assert not {"?", "#", ".."} & {*opened._prefix, *opened._prefix.split("/")}


@pytest.mark.parametrize(
    "end",
    [
        "?endpoint=http://127.0.0.1:6379",
        "/a?endpoint=http://127.0.0.1",
        "#",
        "/a#?endpoint=http://x",
        "?",
        "/x\\..\\..\\y",
        "x",
    ],
)
def test_an_address_with_options_is_refused(roots: None, end: str) -> None:
    assert source(f"s3://flowers/photos{end}") is None


def test_a_root_without_options_gets_none_from_the_address(roots: None) -> None:
    opened = source("s3://other/2026/07")
    assert opened is not None and opened._options == {"endpoint_url": None, "region_name": None}
    assert source("s3://other?endpoint=http://evil") is None


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 300, "a\nb", "a\0b"])
def test_a_folder_that_cannot_be_is_refused(tmp_path: Path, settings: Any, name: str) -> None:
    settings.EXEML_SOURCE_ROOTS = [str(tmp_path)]
    with pytest.raises(ValidationError):
        data_source.check_address(f"{tmp_path}/{name}")


@pytest.mark.django_db
def test_the_page_says_what_is_wrong_at_the_field(roots: None, alice: Client) -> None:
    project = make_project()
    address = "s3://flowers/photos?endpoint=http://127.0.0.1:1"
    answer = alice.post(f"/projects/{project.pk}/transfers/source/", {"address": address})
    assert answer.status_code == 422 and "without “?” and “#”" in answer.content.decode()


@pytest.mark.parametrize(
    "root", ["s3://b?endpoint=file:///etc", "s3://b?endpoint=internal", "s3://b?signature=none", "ftp://x"]
)
def test_a_root_with_other_options_stops_the_start(root: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import exeml_site.settings"],
        cwd=django_settings.BASE_DIR,
        env={"EXEML_SOURCE_ROOTS": root, "EXEML_SECRET_KEY": "x"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode and "EXEML_SOURCE_ROOTS" in done.stderr

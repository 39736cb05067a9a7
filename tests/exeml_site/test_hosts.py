"""Host names at which the site answers: without a list, addresses and the names of this machine."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.test import Client

from exeml_site.hosts import is_answered


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST",
        "127.0.0.1:8000",
        "[::1]:8000",
        "192.168.1.20",
        "10.0.0.7:80",
        "exeml.localhost",
        socket.gethostname(),
        f"{socket.gethostname()}:8000",
        f"{socket.gethostname()}.local",
    ],
)
def test_addresses_and_names_of_this_machine_are_answered(settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert is_answered(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "1.2.3.4.5",
        "",
        "127.0.0.1@evil.example",
        "[::1",
        "a b",
        "localhost\n",
        "local",
        "evil.local",
        "ÿ",
        "x" * 300,
        "0x7f.1",
    ],
)
def test_a_name_that_a_web_page_can_point_here_is_refused(settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert not is_answered(host)


def test_the_page_names_the_setting_and_the_log_stays_quiet(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    answer = Client().get("/sign-in/", headers={"Host": "evil.example"})
    assert answer.status_code == 400 and caplog.records == []
    assert "“evil.example”" in answer.content.decode() and b"EXEML_ALLOWED_HOSTS" in answer.content
    assert answer.cookies == {} and b"csrf" not in answer.content


def test_static_files_and_the_api_are_refused_there_too(db: None) -> None:
    assert Client().get("/static/css/base.css", headers={"Host": "evil.example"}).status_code == 400
    answer = Client().post("/v1/infers/x", headers={"Host": "evil.example"})
    assert answer.status_code == 400 and answer.json()["error_code"] == "REQUEST_BROKEN"


def test_a_list_is_all_that_is_answered(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.LOCAL_HOSTS = ["exeml.example.org", ".lab.example"], False
    answered = ["exeml.example.org", "gpu.lab.example:443"]
    assert [
        host for host in [*answered, "localhost", "127.0.0.1", "x.example.org"] if is_answered(host)
    ] == answered


def test_a_star_answers_every_name(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.ANY_HOST, settings.LOCAL_HOSTS = ["*"], True, False
    assert is_answered("evil.example") and not is_answered("a b")


def test_hosts_of_trusted_origins_are_answered(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://exeml.example.org:8443"]
    assert is_answered("exeml.example.org:8443") and not is_answered("evil.example")

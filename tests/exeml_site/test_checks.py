"""System checks report contradictory settings, with a hint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks

from tests.supervisor_process import ROOT
from training.models import InstanceFlavor


def found(databases: list[str] | None = None) -> list[str]:
    complaints = [
        message for message in run_checks(databases=databases) if str(message.id).startswith("exeml.")
    ]
    assert all(message.hint for message in complaints)
    return [str(message.id) for message in complaints]


def test_a_redis_url_of_another_kind(settings: object) -> None:
    settings.REDIS_URL = "http://localhost:6379"  # type: ignore[attr-defined]
    assert found() == ["exeml.E001"]


def test_a_shared_queue_without_a_shared_database_and_shared_files(settings: object) -> None:
    settings.REDIS_URL = "redis://queue.example.org:6379/0"  # type: ignore[attr-defined]
    assert found() == ["exeml.W001", "exeml.W002"]


def test_debugging_where_https_says_that_others_reach_the_pages(settings: object) -> None:
    settings.HTTPS, settings.DEBUG = True, True  # type: ignore[attr-defined]
    assert "exeml.E002" in found()


def test_a_proxy_that_is_not_named(settings: object) -> None:
    settings.HTTPS = True  # type: ignore[attr-defined]
    assert found() == ["exeml.W004"]


@pytest.mark.django_db
def test_no_default_flavor() -> None:
    InstanceFlavor.objects.update(is_default=False)
    assert found(["default"]) == ["exeml.W003"]


@pytest.mark.django_db
def test_a_flavor_whose_queue_does_not_exist() -> None:
    InstanceFlavor.objects.filter(is_default=False).update(queue="tpu")
    assert found(["default"]) == ["exeml.E003"]


@pytest.mark.django_db
def test_the_database_is_asked_only_where_one_is_named() -> None:
    InstanceFlavor.objects.update(is_default=False)
    assert found() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({}, "max-age=31536000"),
        ({"EXEML_HSTS_SUBDOMAINS": "1"}, "max-age=31536000; includeSubDomains"),
        (
            {"EXEML_HSTS_SUBDOMAINS": "1", "EXEML_HSTS_PRELOAD": "1"},
            "max-age=31536000; includeSubDomains; preload",
        ),
    ],
)
def test_hsts_covers_the_host_alone_unless_a_setting_says_more(
    tmp_path: Path, environment: dict[str, str], header: str
) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "print(Client().get('/', secure=True, headers={'host': 'localhost'})['Strict-Transport-Security'])"
    )
    product = {
        "DJANGO_SETTINGS_MODULE": "exeml_site.settings",
        "EXEML_DATA": str(tmp_path),
        "EXEML_HTTPS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **product, **environment, "EXEML_HTTPS": "1", "EXEML_DEBUG": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == header, done.stderr[-500:]

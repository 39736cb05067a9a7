"""Bad requests do not fill the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from exeml_site.lib import log_limit
from exeml_site.lib.log_limit import MAX_LINES, LineLimit


def line(limit: LineLimit, name: str = "django.security.DisallowedHost") -> logging.LogRecord | None:
    record = logging.LogRecord(name, logging.ERROR, "", 0, "Invalid host %s", ("x",), None)
    return record if limit.filter(record) else None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(log_limit.time, "monotonic", lambda: now[0])
    return now


def test_a_flood_becomes_few_lines_and_the_next_minute_says_how_many_were_dropped(clock: list[float]) -> None:
    limit = LineLimit(["django.security"])
    assert sum(line(limit) is not None for _ in range(1000)) == MAX_LINES
    clock[0] += 61
    told = line(limit)
    assert (
        told is not None and told.getMessage() == f"Invalid host x ({1000 - MAX_LINES} more before this one)"
    )
    after = line(limit)
    assert after is not None and after.getMessage() == "Invalid host x"


def test_other_loggers_are_not_limited_and_each_counts_by_itself(clock: list[float]) -> None:
    limit = LineLimit(["django.security"])
    assert all(line(limit, "django.request") for _ in range(100))
    assert sum(line(limit, "django.security.csrf") is not None for _ in range(100)) == MAX_LINES
    assert line(limit, "django.security.DisallowedHost")
    assert all(line(limit, "django.securityless") for _ in range(100))


@pytest.mark.django_db
def test_bad_requests_do_not_flood_the_log(settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.ANY_HOST = ["exeml.example.org"], False
    client = Client(enforce_csrf_checks=True)
    with logged_lines() as hosts:
        for number in range(50):
            assert client.get("/sign-in/", headers={"host": f"evil-{number}.example"}).status_code == 400
    with logged_lines() as forms:
        for _ in range(50):
            assert client.post("/sign-in/", headers={"host": "exeml.example.org"}).status_code == 403
    assert hosts == [] and len(forms) == MAX_LINES


@contextmanager
def logged_lines() -> Iterator[list[str]]:
    """What the log of the product gets meanwhile."""
    handler = logging.StreamHandler()
    handler.addFilter(product_filter())
    lines: list[str] = []
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield lines
    finally:
        root.removeHandler(handler)


def product_filter() -> LineLimit:
    """As the settings make it for the log of the product."""
    options = dict(settings.LOGGING["filters"]["few"])
    assert settings.LOGGING["handlers"]["stderr"]["filters"] == ["few"]
    assert options.pop("()") == "exeml_site.lib.log_limit.LineLimit"
    return LineLimit(**options)

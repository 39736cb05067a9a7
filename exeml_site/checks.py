"""System checks for contradictory settings, each with a hint. `up` and `make lint` run them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from exeml_site.health.migrations import newer_data

LOCAL_HOSTS = {"", "localhost", "127.0.0.1", "::1"}


@register()
def check_redis_url(**kwargs: Any) -> list[CheckMessage]:
    parts = urlsplit(settings.REDIS_URL)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return []
    hint = "For example redis://:password@host:6379/0, or leave it empty for the embedded Redis."
    return [Error("REDIS_URL must begin with redis://, rediss:// or unix://.", hint=hint, id="exeml.E001")]


@register()
def check_several_machines(**kwargs: Any) -> list[CheckMessage]:
    """Workers on other machines need a database and files that they can reach."""
    if (urlsplit(settings.REDIS_URL).hostname or "") in LOCAL_HOSTS:
        return []
    warnings: list[CheckMessage] = []
    if not settings.DATABASE_URL:
        warnings.append(
            Warning(
                "REDIS_URL names another machine, but the database is SQLite in the data folder.",
                hint="Set DATABASE_URL to a PostgreSQL that every machine reaches.",
                id="exeml.W001",
            )
        )
    if not settings.STORAGE_URL:
        warnings.append(
            Warning(
                "REDIS_URL names another machine, but the files are in the data folder.",
                hint="Set STORAGE_URL to an S3 bucket, or mount the same data folder on every machine.",
                id="exeml.W002",
            )
        )
    return warnings


@register()
def check_trusted_proxies(**kwargs: Any) -> list[CheckMessage]:
    if not settings.HTTPS or settings.EXEML_TRUSTED_PROXIES:
        return []
    hint = "Set EXEML_TRUSTED_PROXIES to the address of the proxy."
    text = "EXEML_HTTPS says that there is a proxy: wrong passwords of everybody behind it count together."
    return [Warning(text, hint=hint, id="exeml.W004")]


@register()
def check_https(**kwargs: Any) -> list[CheckMessage]:
    if not (settings.HTTPS and settings.DEBUG):
        return []
    hint = "Leave EXEML_DEBUG empty wherever other people reach the pages."
    return [Error("EXEML_HTTPS and EXEML_DEBUG are both on.", hint=hint, id="exeml.E002")]


@register(Tags.database)
def check_newer_data(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Queries the database, so it runs for `migrate` and `check --database default` only."""
    if not databases or "default" not in databases or not (sentence := newer_data()):
        return []
    return [Error(sentence, id="exeml.E004")]

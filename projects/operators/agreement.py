"""Settings that must be the same on every machine, as they are compared.

Every setting whose name begins with EXEML_ is compared, unless it is named here: a new one need not be added.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

# Each machine has its own.
OF_ONE_MACHINE = {"EXEML_ENGINE_THREADS"}
# Read by web servers only: compared among machines that have one.
OF_WEB_SERVERS = {
    "EXEML_ALLOWED_HOSTS",
    "EXEML_HSTS_PRELOAD",
    "EXEML_HSTS_SUBDOMAINS",
    "EXEML_HTTPS",
    "EXEML_METRICS_TOKEN",
    "EXEML_TRUSTED_ORIGINS",
    "EXEML_TRUSTED_PROXIES",
}
HASH = "hash:"
ITERATIONS = 100_000  # of what may be a secret that a person chose: 30 ms


def agreed_settings(parts: list[str]) -> dict[str, str]:
    """By the name of the variable: numbers as they are, texts as hashes, empty if not set."""
    left_out = OF_ONE_MACHINE if "web" in parts else OF_ONE_MACHINE | OF_WEB_SERVERS
    values = {name: getattr(settings, name) for name in dir(settings) if name.startswith("EXEML_")}
    values |= {
        "EXEML_ALLOWED_HOSTS": settings.ALLOWED_HOSTS,
        "EXEML_HSTS_PRELOAD": settings.SECURE_HSTS_PRELOAD,
        "EXEML_HSTS_SUBDOMAINS": settings.SECURE_HSTS_INCLUDE_SUBDOMAINS,
        "EXEML_HTTPS": settings.HTTPS,
        "EXEML_SECRET_KEY": settings.SECRET_KEY,
        "EXEML_TIME_ZONE": settings.TIME_ZONE,
        "EXEML_TRUSTED_ORIGINS": settings.CSRF_TRUSTED_ORIGINS,
    }
    compared = {name: comparable(name, value) for name, value in values.items() if name not in left_out}
    return {**compared, "REDIS_URL": _redis(), "STORAGE_URL": _storage()}


def comparable(name: str, value: Any) -> str:
    """A value as it is stored: no text is readable, since it may be a secret."""
    if isinstance(value, bool | int | float):
        return str(int(value) if isinstance(value, bool) else value)
    if isinstance(value, list | tuple | set):
        value = ",".join(sorted(map(str, value)))
    return _hash(name, str(value)) if value else ""


def is_hash(value: str) -> bool:
    return value.startswith(HASH)


@cache
def _hash(name: str, value: str) -> str:
    return HASH + hashlib.pbkdf2_hmac("sha256", value.encode(), name.encode(), ITERATIONS).hex()[:32]


def _redis() -> str:
    """Host, port and database; empty for the embedded one."""
    parts = urlsplit(settings.REDIS_URL)
    return f"{parts.hostname}:{parts.port or 6379}{parts.path}" if parts.hostname else ""


def _storage() -> str:
    """Bucket and prefix, which may have another endpoint elsewhere; empty for the data folder."""
    parts = urlsplit(settings.STORAGE_URL)
    return f"s3://{parts.hostname}{parts.path.rstrip('/')}" if parts.hostname else ""

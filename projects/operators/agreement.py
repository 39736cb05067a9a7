"""Settings that must be the same on every machine, as they are compared. A test finds one that is missing."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

EVERYWHERE = {
    "EXEML_AUDIT_DAYS",
    "EXEML_BIN_DAYS",
    "EXEML_CURRENCY",
    "EXEML_MAX_IMAGE_MB",
    "EXEML_MAX_IMAGE_MEGAPIXELS",
    "EXEML_MAX_IMPORT_GB",
    "EXEML_MAX_PROJECTS_PER_TEAM",
    "EXEML_MAX_SERVICES_PER_TEAM",
    "EXEML_SECRET_KEY",
    "EXEML_SITE_URL",
    "EXEML_SOURCE_ROOTS",
    "EXEML_TIME_ZONE",
    "EXEML_WEBHOOK_ALLOW",
    "REDIS_URL",
    "STORAGE_URL",
}
# Read by web servers only: compared among machines that have one.
OF_WEB_SERVERS = {
    "EXEML_ALLOWED_HOSTS",
    "EXEML_API_CALLS_PER_MINUTE",
    "EXEML_HSTS_PRELOAD",
    "EXEML_HSTS_SUBDOMAINS",
    "EXEML_HTTPS",
    "EXEML_LDAP_BASE",
    "EXEML_LDAP_BIND_DN",
    "EXEML_LDAP_BIND_PASSWORD",
    "EXEML_LDAP_EMAIL",
    "EXEML_LDAP_FILTER",
    "EXEML_LDAP_GROUP_BASE",
    "EXEML_LDAP_GROUP_FILTER",
    "EXEML_LDAP_URL",
    "EXEML_MAIL_URL",
    "EXEML_METRICS_TOKEN",
    "EXEML_OIDC_CLIENT_ID",
    "EXEML_OIDC_CLIENT_SECRET",
    "EXEML_OIDC_NAME",
    "EXEML_OIDC_SCOPES",
    "EXEML_OIDC_URL",
    "EXEML_OPERATORS_SECOND_FACTOR",
    "EXEML_PATH_PREFIX",
    "EXEML_REMOTE_USER_HEADER",
    "EXEML_SESSION_HOURS",
    "EXEML_SESSION_IDLE_HOURS",
    "EXEML_SIGN_IN_TEAMS",
    "EXEML_TRUSTED_ORIGINS",
    "EXEML_TRUSTED_PROXIES",
}
# Each machine has its own. Machines that are compared have one database; weights are compared by name.
OF_ONE_MACHINE = {
    "DATABASE_URL",
    "EXEML_ACCESS_LOG",
    "EXEML_ADMIN_NAME",
    "EXEML_ADMIN_PASSWORD",
    "EXEML_AUDIT_STDOUT",
    "EXEML_BACKUP_DIR",
    "EXEML_BACKUP_KEEP",
    "EXEML_BACKUP_TIME",
    "EXEML_BIND",
    "EXEML_CACHE_GB",
    "EXEML_DATA",
    "EXEML_DATABASE_POOL",
    "EXEML_DEBUG",
    "EXEML_DRAIN_S",
    "EXEML_ENGINE_THREADS",
    "EXEML_LDAP_CA_FILE",
    "EXEML_LOG_FORMAT",
    "EXEML_LOG_LEVEL",
    "EXEML_ONLY",
    "EXEML_WEIGHTS",
    "PORT",
}
HASH = "hash:"
ITERATIONS = 100_000  # of what may be a secret that a person chose: 30 ms


def agreed_settings(parts: list[str]) -> dict[str, str]:
    """By the name of the variable: numbers as they are, texts as hashes, empty if not set."""
    names = EVERYWHERE | OF_WEB_SERVERS if "web" in parts else EVERYWHERE
    values = _evaluated()
    texts = {name: comparable(name, values[name]) for name in sorted(names)}
    return {**texts, "REDIS_URL": _redis(), "STORAGE_URL": _storage()}


def _evaluated() -> dict[str, Any]:
    """What the settings made of each variable; its text where they have no setting of its name."""
    texts = {name: os.environ.get(name, "") for name in EVERYWHERE | OF_WEB_SERVERS}
    values = {name: getattr(settings, name, text) for name, text in texts.items()}
    return values | {
        "EXEML_ALLOWED_HOSTS": settings.ALLOWED_HOSTS,
        "EXEML_HSTS_PRELOAD": settings.SECURE_HSTS_PRELOAD,
        "EXEML_HSTS_SUBDOMAINS": settings.SECURE_HSTS_INCLUDE_SUBDOMAINS,
        "EXEML_HTTPS": settings.HTTPS,
        "EXEML_SITE_URL": settings.SITE_URL,
        "EXEML_SECRET_KEY": settings.SECRET_KEY,
        "EXEML_TIME_ZONE": settings.TIME_ZONE,
        "EXEML_TRUSTED_ORIGINS": settings.CSRF_TRUSTED_ORIGINS,
    }


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

"""Readers of environment variables for the settings. Invalid values raise when the program starts."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from datetime import time
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from exeml_site.lib.outages.database import note_refused


def env_int(name: str, default: int, minimum: int = 0) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = int(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {text!r}.") from error
    if value < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {value}.")
    return value


def env_bool(name: str, default: bool) -> bool:
    text = os.environ.get(name, "").strip().lower()
    if text in {"", "0", "1", "true", "false", "yes", "no"}:
        return default if text == "" else text in {"1", "true", "yes"}
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {text!r}.")


def env_choice(name: str, *choices: str) -> str:
    """One of `choices`; the first where the variable is not set."""
    text = os.environ.get(name, "").strip().lower() or choices[0]
    if text not in choices:
        raise ImproperlyConfigured(f"{name} must be {' or '.join(choices)}, not {text!r}.")
    return text


def env_list(name: str, default: str) -> list[str]:
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def env_time(name: str, default: str) -> time:
    text = os.environ.get(name) or default
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a time of day such as 02:00, not {text!r}.") from error


def env_networks(name: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(text, strict=False) for text in env_list(name, "")]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be IP addresses or networks: {error}.") from error


def webhook_allowance(name: str) -> list[str]:
    """IP addresses, networks and names of hosts, such as `hooks.example.org` and `.example.org`."""
    entries = [entry.lower() for entry in env_list(name, "")]
    for entry in entries:
        if re.fullmatch(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*", entry) and not re.fullmatch("[0-9.]+", entry):
            continue
        try:
            ip_network(entry, strict=False)
        except ValueError as error:
            raise ImproperlyConfigured(
                f"{name} must be IP addresses, networks or names of hosts, without ports: {error}."
            ) from error
    return entries


def env_path(name: str) -> str:
    """A path such as `/exeml`, or an empty text for the root of the host."""
    text = os.environ.get(name, "").strip().strip("/")
    if text and not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", text, re.ASCII):
        raise ImproperlyConfigured(f"{name} must be a path such as /exeml, not {text!r}.")
    return text and f"/{text}"


def secret_key(data_dir: Path) -> str:
    """EXEML_SECRET_KEY, or a key generated once and stored in the data folder: sessions survive restarts."""
    if key := os.environ.get("EXEML_SECRET_KEY"):
        return key
    path, key = data_dir / "secret-key", secrets.token_urlsafe(50)
    own = data_dir / f"secret-key-{os.getpid()}"
    with suppress(OSError):  # the folder is not writable: `up` reports it
        if not path.exists():
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            own.touch(mode=0o600)
            own.write_text(key)
            os.replace(own, path)  # atomic
        return path.read_text().strip()
    return key


# Of requests to S3: one that gets no answer ends after about twice this time, in pages as in jobs.
STORAGE_CONNECT_S, STORAGE_READ_S, STORAGE_ATTEMPTS = 3, 10, 2
STORAGE_CONNECTIONS = 50  # kept open by one process

SQLITE = "sqlite:///"
# A request that gets no connection within this time is answered with 503 (exeml_site.unavailable).
POOL_TIMEOUT_S = 5
CONNECT_TIMEOUT_S = 5
# Connections that lost their server without a word: found by TCP after about so long.
KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def database(url: str, data_dir: Path, pool: int) -> dict[str, Any]:
    """The database of the URL, or SQLite in the data folder (`sqlite:///path`: in another file).

    `pool`: connections to PostgreSQL that the threads of this process share; 0: each thread has its own.
    """
    if not url or url.startswith(SQLITE):
        return {
            "ENGINE": "exeml_site.sqlite3",
            "NAME": url.removeprefix(SQLITE) or str(data_dir / "exeml.sqlite3"),
            "CONN_MAX_AGE": 60,  # opening a connection takes longer than most queries
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": (
                    "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA cache_size=-16384;"
                    "PRAGMA mmap_size=268435456;"
                ),
            },
        }
    settings: dict[str, Any] = dict(dj_database_url.parse(url, conn_health_checks=True, conn_max_age=60))
    if settings["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host/name.")
    settings["ENGINE"] = "exeml_site.postgresql"
    given = settings.get("OPTIONS", {})
    settings["OPTIONS"] = {"connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVE, **given}
    if pool:
        from exeml_site.postgresql.timed_connection import TimedConnection  # psycopg, for PostgreSQL alone

        settings["CONN_MAX_AGE"] = 0
        # A cursor of the server would end when its thread gives the connection back between two rows.
        settings["DISABLE_SERVER_SIDE_CURSORS"] = True
        settings["OPTIONS"]["pool"] = {
            "min_size": 1,
            "max_size": pool,
            "timeout": POOL_TIMEOUT_S,
            # By default the pauses between attempts double for five minutes, and the pool stays empty so long
            # after the database has come back. Here the next request tries again.
            "reconnect_timeout": 0,
            "reconnect_failed": note_refused,
            "connection_class": TimedConnection,
        }
    return settings


MEMORY_OF_A_FILE = 16 << 20  # of S3, which is read whole: a larger one is a temporary file


def file_storage(url: str, folder: Path) -> dict[str, object]:
    """Storage of images, manifests and bundles: a local folder, or `s3://bucket/prefix?endpoint=…&region=…`."""
    if not url:
        return {
            "BACKEND": "exeml_site.lib.outages.local_files.PooledFileStorage",
            "OPTIONS": {"location": folder, "base_url": None},
        }
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.hostname:
        raise ImproperlyConfigured("STORAGE_URL must look like s3://bucket/prefix?endpoint=https://host.")
    from botocore.config import Config  # large, and for S3 only

    query = dict(parse_qsl(parts.query))
    return {
        "BACKEND": "exeml_site.lib.outages.s3.PooledS3Storage",
        "OPTIONS": {
            "bucket_name": parts.hostname,
            "location": parts.path.strip("/"),
            "endpoint_url": query.get("endpoint"),
            "region_name": query.get("region"),
            "file_overwrite": True,
            "default_acl": None,
            "querystring_auth": True,
            "max_memory_size": MEMORY_OF_A_FILE,
            "client_config": Config(
                connect_timeout=STORAGE_CONNECT_S,
                read_timeout=STORAGE_READ_S,
                retries={"total_max_attempts": STORAGE_ATTEMPTS, "mode": "standard"},
                max_pool_connections=STORAGE_CONNECTIONS,
                tcp_keepalive=True,
            ),
        },
    }


def source_roots(roots: list[str]) -> list[str]:
    """Check the roots of data sources: folders of the server, or `s3://bucket/prefix?endpoint=…`."""
    for root in roots:
        if not root.startswith(("/", "s3://")):
            raise ImproperlyConfigured(f"EXEML_SOURCE_ROOTS: {root!r} must begin with / or s3://.")
        query = root.partition("?")[2] if root.startswith("s3://") else ""
        options = dict(parse_qsl(query, keep_blank_values=True))
        is_endpoint = re.match("https?://|$", options.get("endpoint", ""))
        if not is_endpoint or set(options) - {"endpoint", "region"}:
            raise ImproperlyConfigured(
                f"EXEML_SOURCE_ROOTS: after the ? of {root!r} only endpoint=https://… and region=… may stand."
            )
    return roots

"""One state of the database to read from, while others write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from django.db import connections, transaction
from django.db.utils import load_backend

ALIAS = "snapshot"


@contextmanager
def snapshot() -> Iterator[str]:
    """The alias of a database connection that sees the rows of one moment. Writers are not held up.

    SQLite: a read transaction beside the log of changes. PostgreSQL: REPEATABLE READ.
    """
    settings = _settings()
    # Known to this thread alone: others may make a snapshot at the same time.
    connections[ALIAS] = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, ALIAS)
    try:
        with transaction.atomic(using=ALIAS):
            if connections[ALIAS].vendor == "sqlite":
                with connections[ALIAS].cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM sqlite_master")  # from here on
            yield ALIAS
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]


def _settings() -> dict[str, Any]:
    settings = deepcopy({**connections["default"].settings_dict, "CONN_MAX_AGE": 0})
    if connections["default"].vendor == "sqlite":
        settings["ENGINE"] = "django.db.backends.sqlite3"  # it need not stand in the line of writers
        settings["OPTIONS"]["transaction_mode"] = "DEFERRED"
    else:
        from psycopg import IsolationLevel

        settings["OPTIONS"].pop("pool", None)
        settings["OPTIONS"]["isolation_level"] = IsolationLevel.REPEATABLE_READ
    return settings

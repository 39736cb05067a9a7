"""Django's PostgreSQL backend, for a database that is away for a while.

Threads of a web process share few connections (Django's pool). Once all are lost and the database lets nobody
connect, requests are refused at once for a second instead of queueing for connections that will not come. A
worker has time: a new connection waits for the database (`database.wait_for_database`).
"""

from __future__ import annotations

import time
from typing import Any

from django.db.backends.postgresql import base

from exeml_site.lib.outages import database
from exeml_site.lib.outages.parts import Part, report

RETRY_INTERVAL_S = 1.0


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self.pool:
            if database.is_refused() and not self.pool.get_stats().get("pool_size"):
                raise self.Database.OperationalError("no connection was possible a moment ago")
            return super().get_new_connection(conn_params)
        end = time.monotonic() + database.wait_s()
        while True:
            try:
                return super().get_new_connection(conn_params)
            except self.Database.OperationalError as problem:
                if time.monotonic() >= end:
                    raise
                report(Part.DATABASE, problem)
            time.sleep(RETRY_INTERVAL_S)

"""Tells the database once a minute what this machine is and runs, and the terminal what differs elsewhere."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from threading import Thread

from django.core.management import call_command
from django.db import DatabaseError, connections

from exeml_site.supervisor.console import print_line

INTERVAL_S = 60.0


class MachineReports(Thread):
    """Runs `manage.py report_machine`, by name since this package imports no app, and prints what is new.

    A report that the database does not take is left out: the age of the last one tells.
    """

    def __init__(self, parts: list[str]) -> None:
        super().__init__(name="machine reports", daemon=True)
        self._parts, self._started_at = parts, datetime.now(UTC)

    def run(self) -> None:
        said: set[str] = set()
        while True:
            sentences = self._report()
            for sentence in sentences:
                if sentence not in said:
                    print_line("up", sentence)
            said = set(sentences)
            time.sleep(INTERVAL_S)

    def _report(self) -> list[str]:
        out = io.StringIO()
        try:
            call_command("report_machine", parts=self._parts, started_at=self._started_at, stdout=out)
        except (DatabaseError, OSError):
            return []
        finally:
            connections.close_all()
        return out.getvalue().splitlines()

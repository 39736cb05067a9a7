"""`python manage.py up`: runs all programs of this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from exeml_site.lib.files import machine_files
from exeml_site.supervisor.console import print_block, print_line
from exeml_site.supervisor.data_folder import prepare_folder
from exeml_site.supervisor.machine_reports import MachineReports
from exeml_site.supervisor.main import run
from exeml_site.supervisor.preflight import CannotStart, claim_folder, claim_port, parse_port
from exeml_site.supervisor.programs import PARTS, programs
from exeml_site.supervisor.redis_server import RedisEndpoint, choose_endpoint, redis_program


class Command(BaseCommand):
    help = "Runs web server, workers, cron and, unless REDIS_URL names one, Redis. Ctrl-C stops all."
    requires_system_checks = []  # run below, after the folder is locked and the port is bound

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", default=os.environ.get("PORT") or "8000", help="default: PORT, or 8000")
        parser.add_argument(
            "--only",
            default=os.environ.get("EXEML_ONLY") or ",".join(PARTS),
            help=f"programs to run on this machine (default: EXEML_ONLY, or all: {','.join(PARTS)})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            up(options["port"], options["only"].replace(" ", "").split(","), self)
        except CannotStart as refusal:
            self.stderr.write(str(refusal))
            raise SystemExit(1) from refusal
        except KeyboardInterrupt:
            print_line("up", "Stopped.")


def up(port: str, parts: list[str], command: BaseCommand) -> None:
    """Run until a signal. Raises CannotStart."""
    if unknown := sorted(set(parts) - set(PARTS)):
        raise CannotStart(f"--only accepts {', '.join(PARTS)}, not {', '.join(unknown)}.")
    if settings.QUEUE_BACKUPS not in settings.RQ_QUEUES:  # no EXEML_BACKUP_DIR
        parts = [part for part in parts if part != settings.QUEUE_BACKUPS]
    lock = claim_folder(settings.DATA_DIR)
    prepare_folder(settings.DATA_DIR, lambda sentence: print_line("up", sentence))
    listener = None
    if "web" in parts:
        listener = claim_port(os.environ.get("EXEML_BIND") or "0.0.0.0", parse_port(port))
    command.check(fail_level=40)
    with lock:
        _serve(parts, listener)


def _serve(parts: list[str], listener: socket.socket | None) -> None:
    welcome = _prepare(listener) if listener else _wait_for_data(parts)
    is_redis_embedded = not os.environ.get("REDIS_URL")
    place = choose_endpoint(settings.REDIS_SOCKET) if is_redis_embedded else RedisEndpoint(settings.REDIS_URL)
    os.environ["REDIS_URL"] = place.url  # inherited by the programs below
    os.environ.update(DJANGO_SETTINGS_MODULE="exeml_site.settings", PYTHONUNBUFFERED="1")
    machine_files.begin()
    redis = redis_program(place, settings.DATA_DIR / "redis") if is_redis_embedded else None
    MachineReports(parts).start()
    plan = programs(parts, listener.fileno() if listener else None)
    try:
        asyncio.run(run(redis, place, plan, settings.BASE_DIR, listener, lambda: print_block(welcome)))
    finally:
        place.clear()
    print_line("up", "Everything stopped.")


def _wait_for_data(parts: list[str]) -> list[str]:
    """Wait for the data that a machine with a web server prepares; return the text for the terminal."""
    from exeml_site.supervisor.first_start import await_data

    await_data(lambda sentence: print_line("up", sentence))
    return [f"exeml serves {', '.join(parts)} on this machine."]


def _prepare(listener: socket.socket) -> list[str]:
    """Prepare the data folder; return the welcome text for the terminal."""
    from exeml_site.supervisor.first_start import prepare_data

    administrator = prepare_data(lambda sentence: print_line("up", sentence))
    return [
        "exeml is ready.",
        "",
        f"Address   http://localhost:{listener.getsockname()[1]}{settings.PATH_PREFIX}",
        *administrator,
        f"Data      {settings.DATA_DIR}",
        "",
        "Ctrl-C stops everything; the next start continues where this one stopped.",
    ]

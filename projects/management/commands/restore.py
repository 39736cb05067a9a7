"""`python manage.py restore FILE`: a backup into an empty installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exeml_site.lib.errors import Refused
from projects.backup.restore import restore


class Command(BaseCommand):
    help = (
        "Restores a backup into an empty installation, also on another database and storage than it was made "
        "on. Everything is checked before anything is written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--force", action="store_true", help="first delete everything that is there")

    def handle(self, *args: Any, file: Path, force: bool, **options: Any) -> None:
        try:
            counts = restore(file, force=force, log=self.stderr.write)
        except (Refused, OSError) as problem:
            raise CommandError(str(problem)) from problem
        rows, files = sum(counts["rows"].values()), counts["files"]
        self.stdout.write(f"{rows:,} rows and {files:,} files restored. Start the program: manage.py up")

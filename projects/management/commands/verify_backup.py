"""`python manage.py verify_backup FILE`: restores a backup for a trial and says what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exeml_site.lib.errors import Refused
from projects.backup.verify import verify, verify_here


class Command(BaseCommand):
    help = "Restores a backup into a temporary folder, compares everything, and loads the newest model."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--here",
            action="store_true",
            help="the data folder of this process is the temporary one: everything in it is replaced",
        )

    def handle(self, *args: Any, file: Path, here: bool, **options: Any) -> None:
        try:
            found = verify_here(file) if here else verify(file)
        except (Refused, OSError) as problem:
            raise CommandError(str(problem)) from problem
        if here:
            self.stdout.write(json.dumps(found))
            return
        self.stdout.write(
            f"The backup is whole: {sum(found['rows'].values()):,} rows, {found['files']:,} files, "
            f"{found['file_bytes'] / 1e6:,.0f} MB, made by version {found['head']['program_version']} "
            f"at {found['head']['created_at']}."
        )
        for sentence in found["checks"]:
            self.stdout.write(sentence)
        if found["vanished_count"]:
            self.stdout.write(f"{found['vanished_count']:,} files of images were missing when it was made.")

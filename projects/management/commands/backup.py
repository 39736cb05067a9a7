"""`python manage.py backup FILE`: one file with everything, made while the program runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from exeml_site.lib.errors import Refused
from projects.backup.runs import make_backup


class Command(BaseCommand):
    help = "Writes all rows, all stored files and the secret key into one new file. The program may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="such as /backups/exeml.tar; it must not exist")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            counts = make_backup(file, self.stderr.write)
        except (Refused, OSError) as problem:
            raise CommandError(str(problem)) from problem
        self.stdout.write(
            f"{file}: {sum(counts.rows.values()):,} rows, {counts.files:,} files, "
            f"{counts.file_bytes / 1e6:,.0f} MB in {counts.seconds:.0f} s."
        )
        if counts.vanished_count:
            self.stdout.write(f"{counts.vanished_count:,} files of images were not in the storage:")
            self.stdout.writelines(f"  {name}" for name in counts.vanished)

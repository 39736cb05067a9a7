"""`python manage.py setup`: creates the first administrator, team and sample project, once. `up` calls it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from exeml_site.lib.errors import Refused
from projects.setup import make_administrator, make_sample


class Command(BaseCommand):
    help = "Creates the first administrator, its team and the sample project. A second run changes nothing."
    stealth_options = ("log",)  # a function that receives each message; `up` logs them

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            administrator = make_administrator()
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        make_sample(options.get("log") or self.stderr.write)
        self.stdout.write(f"Name      {administrator.name}")
        self.stdout.write(f"Password  {administrator.password_line}")

"""`python manage.py setup`: the first administrator, team and sample project, once. `up` calls it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from projects.setup import make_administrator, make_sample


class Command(BaseCommand):
    help = "Makes the first administrator, its team and the sample project. Again changes nothing."
    stealth_options = ("say",)  # a function that gets each sentence; `up` shows them with its own lines

    def handle(self, *args: Any, **options: Any) -> None:
        administrator = make_administrator()
        make_sample(options.get("say") or self.stderr.write)
        self.stdout.write(f"Name      {administrator.name}")
        self.stdout.write(f"Password  {administrator.password_line}")

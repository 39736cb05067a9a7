"""`python manage.py report_machine`: writes what this machine is and runs; `up` calls it once a minute."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from projects.models import Machine
from projects.operators import machines
from training.engine.backbones.registry import available_networks


class Command(BaseCommand):
    help = "Writes what this machine is and runs into the database, and prints what differs on the others."
    stealth_options = ("started_at",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--parts", nargs="+", required=True, help="programs that run on this machine")

    def handle(self, *args: Any, **options: Any) -> None:
        started_at: datetime = options.get("started_at") or timezone.now()
        weights = ", ".join(network.name for network in available_networks() if not network.package)
        machines.report(options["parts"], started_at, {"EXEML_WEIGHTS": weights})
        for sentence in machines.differences(Machine.objects.living()):
            self.stdout.write(sentence)

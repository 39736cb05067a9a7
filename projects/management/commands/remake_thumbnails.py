"""`python manage.py remake_thumbnails`: makes all thumbnails again, and writes those that differ."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from projects.images.remake import remake_thumbnails
from projects.models import Image


class Command(BaseCommand):
    help = (
        "Makes the thumbnails of all images again and writes those that differ. A second run changes nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        changed = remake_thumbnails(Image.objects.alive())
        self.stdout.write(f"{changed} thumbnails have changed.")

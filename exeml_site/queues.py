"""The worker that runs trainings.

Torch and OpenMP do not survive a fork, so every job of this worker runs in a fresh interpreter. That
interpreter unpickles this class first, which is why Django is set up when the module is imported.
"""

from __future__ import annotations

import os

import django
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exeml_site.settings")
if not apps.ready:
    django.setup()

from rq.worker import SpawnWorker


class SpawningWorker(SpawnWorker):
    """RQ's spawning worker with Django ready in the child."""

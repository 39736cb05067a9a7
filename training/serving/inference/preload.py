"""Loads models before the first call comes, in every web process: when it starts and when a service changes.

Measured (benchmarks/mechanisms.py preload): the first call of a process takes 90 ms with its model loaded and
1,450 ms without, 14 times as long.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from django.db import DatabaseError, connection
from django.db.models import Q

from training.models import Service, TrainingVersion
from training.serving.inference import model_cache

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
MAX_AT_START = 4  # models; the shelf holds some more


def begin() -> None:
    """Look for services that begin or change, from now on."""
    threading.Thread(target=_run, name="preload-models", daemon=True).start()


def _run() -> None:
    clock, look_for = threading.Event(), running_versions
    while True:
        try:
            load_versions(look_for())
            look_for = pending_versions
        except DatabaseError:
            logger.warning("The models of beginning services could not be looked up.", exc_info=True)
        finally:
            connection.close()
        clock.wait(POLL_INTERVAL_S)


def running_versions() -> list[int]:
    """The versions of services that were asked most."""
    services = Service.objects.alive().filter(status=Service.Status.RUNNING).order_by("-calls")
    return list(services.values_list("training_version", flat=True)[:MAX_AT_START])


def pending_versions() -> list[int]:
    """The versions that are about to answer."""
    services = Service.objects.alive().filter(
        Q(status=Service.Status.DEPLOYING) | Q(next_version__isnull=False)
    )
    pairs = services.values_list("training_version", "next_version")
    return [key for pair in pairs for key in pair if key is not None]


def load_versions(version_ids: list[int]) -> None:
    """What cannot be loaded is told where the service is brought up."""
    for version in TrainingVersion.objects.filter(pk__in=version_ids) if version_ids else ():
        with contextlib.suppress(model_cache.ModelUnavailable):
            model_cache.load_model(version)

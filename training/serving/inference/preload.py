"""Loads models before the first call comes, in every web process: when it starts and when a service changes.

Measured (benchmarks/mechanisms.py preload): the first call of a process takes 90 ms with its model loaded and
1,450 ms without, 14 times as long.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from django.db import connection
from django.db.models import Q

from exeml_site.lib.outages.parts import is_reported
from training.models import Service
from training.serving.inference import model_cache
from training.versions.number_formats import number_format_in

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 1.0
MAX_AT_START = 4  # models; the shelf holds some more


def begin() -> None:
    """Look for services that begin or change, from now on."""
    threading.Thread(target=_run, name="preload-models", daemon=True).start()


def _run() -> None:
    clock, look_for = threading.Event(), running_services
    while True:
        try:
            load_versions(look_for())
            look_for = changing_services
        except Exception as problem:  # this thread lives as long as its process
            if not is_reported(problem):
                logger.warning("The models of beginning services could not be looked up.", exc_info=True)
        finally:
            connection.close()
        clock.wait(POLL_INTERVAL_S)


def running_services() -> list[Service]:
    """The services that were asked most."""
    running = Service.objects.alive().filter(status=Service.Status.RUNNING).order_by("-calls")
    return list(running.select_related("training_version", "next_version")[:MAX_AT_START])


def changing_services() -> list[Service]:
    """The services that are about to answer, or to answer with another version."""
    changing = Service.objects.alive().filter(
        Q(status=Service.Status.DEPLOYING) | Q(next_version__isnull=False)
    )
    return list(changing.select_related("training_version", "next_version"))


def load_versions(services: list[Service]) -> None:
    """What cannot be loaded is told where the service is brought up."""
    for service in services:
        for version in (service.training_version, service.next_version):
            if version is not None:
                with contextlib.suppress(model_cache.ModelUnavailable):
                    model_cache.load_model(version, number_format_in(service, version))

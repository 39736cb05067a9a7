"""System checks of the instance flavors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError


@register(Tags.database)
def check_flavors(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Queries the database, so it runs only for `manage.py check --database default`."""
    if not databases or "default" not in databases:
        return []
    from training.models import InstanceFlavor

    try:
        enabled = list(InstanceFlavor.objects.filter(is_enabled=True))
    except DatabaseError:
        return []  # before the first migration
    return [*_no_default(enabled), *_without_queue(enabled)]


def _no_default(enabled: list[Any]) -> list[CheckMessage]:
    if any(flavor.is_default for flavor in enabled):
        return []
    hint = "Enable one in the admin under Instance flavors, and mark it as the default."
    return [Warning("No enabled instance flavor is the default.", hint=hint, id="exeml.W003")]


def _without_queue(enabled: list[Any]) -> list[CheckMessage]:
    return [
        Error(
            f"The flavor “{flavor.name}” names the queue “{flavor.queue}”, which does not exist.",
            hint=f"Choose one of {', '.join(settings.RQ_QUEUES)} in the admin, or disable the flavor.",
            id="exeml.E003",
        )
        for flavor in enabled
        if flavor.queue not in settings.RQ_QUEUES
    ]

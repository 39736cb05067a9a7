"""Sessions of people who are signed in."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings


def clear_expired() -> None:
    """Delete the sessions that have expired; run once a day."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()

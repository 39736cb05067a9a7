"""The base of errors whose message is a sentence for the user."""

from __future__ import annotations


class Refused(Exception):
    """A rule forbids the action; the message says why and what to do."""

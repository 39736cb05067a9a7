"""Webhooks: other programs are told what happened. An event is written in the transaction of the change."""

from projects.models import WebhookEvent as Event
from projects.webhooks.events import api_address, is_told, page_address, raise_event

__all__ = ["Event", "api_address", "is_told", "page_address", "raise_event"]

"""Deeds on instance flavors."""

from __future__ import annotations

from django.db import transaction

from training.models import InstanceFlavor


@transaction.atomic
def make_default(flavor: InstanceFlavor) -> None:
    """Take the mark from the present default and give it to this one, which is enabled with it."""
    InstanceFlavor.objects.exclude(pk=flavor.pk).filter(is_default=True).update(is_default=False)
    InstanceFlavor.objects.filter(pk=flavor.pk).update(is_default=True, is_enabled=True)

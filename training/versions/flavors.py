"""Which instance flavors the running workers can serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from django.utils.translation import gettext, gettext_noop

from exeml_site.lib import jobs
from training.models import InstanceFlavor
from training.models.version import Device

ON_THE_CPU = gettext_noop("runs on the CPU here")
WITHOUT_WORKER = gettext_noop("waits: no worker serves it now")


@dataclass(frozen=True)
class FlavorOffer:
    """The enabled flavors, and what the workers say about each.

    Workers that do not answer, or have not said what their machine has, raise no objection.
    """

    flavors: Sequence[InstanceFlavor]

    @classmethod
    def current(cls) -> FlavorOffer:
        enabled = InstanceFlavor.objects.filter(is_enabled=True)
        return cls(list(enabled.order_by("-is_default", "position", "pk")))

    @property
    def preselected(self) -> InstanceFlavor | None:
        """The operators' default if it can be served as named, else the first other one that can."""
        served = [flavor for flavor in self.flavors if not self.remark(flavor)]
        return next(iter([*served, *self.flavors]), None)

    def remark(self, flavor: InstanceFlavor) -> str:
        """What is special about a training with this flavor, as in ON_THE_CPU; empty if nothing is known."""
        gpus = self._gpus.get(flavor.queue)
        if gpus is None:
            return ""
        if not gpus:
            return gettext(WITHOUT_WORKER)
        is_without = flavor.device == Device.GPU and not any(has is not False for has in gpus)
        return gettext(ON_THE_CPU) if is_without else ""

    @cached_property
    def _gpus(self) -> dict[str, list[bool | None] | None]:
        """By queue: whether each of its workers has a GPU."""
        return {queue: jobs.gpus_of_workers(queue) for queue in {flavor.queue for flavor in self.flavors}}

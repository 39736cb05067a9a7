"""Networks that answer within a time limit on the expected hardware, for form and receipt. No torch."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple, cast

from django.db.models import Q

from training.engine import Hardware as EngineHardware
from training.engine.backbones import latency, registry
from training.models import Candidate, Hardware

LATEST_TIMES = 5


class NetworkOption(NamedTuple):
    """A network at one resolution and its time per image in ms: measured on this machine, or estimated."""

    network: str
    resolution: int
    ms: float
    is_measured: bool

    @property
    def licence(self) -> str:
        """Of the pretrained weights, SPDX."""
        return registry.get_network(self.network).licence

    @property
    def is_noncommercial(self) -> bool:
        return registry.get_network(self.network).is_noncommercial


def options_within(hardware: str, max_inference_ms: int) -> list[NetworkOption]:
    """Networks that answer one image within `max_inference_ms`, fastest first."""
    return [option for option in options_by_speed(hardware) if option.ms <= max_inference_ms]


def fastest_per_network(options: list[NetworkOption]) -> list[NetworkOption]:
    """The fastest resolution of each network; `options` are sorted fastest first."""
    first: dict[str, NetworkOption] = {}
    for option in options:
        first.setdefault(option.network, option)
    return list(first.values())


def options_by_speed(hardware: str) -> list[NetworkOption]:
    """All networks, fastest first, with the time that an earlier training measured here or an estimate."""
    measured = _measured_times() if hardware == Hardware.CPU else {}
    admissible = latency.admissible_networks(cast(EngineHardware, hardware), float("inf"))
    return sorted(
        (_option(network.name, resolution, ms, measured) for network, resolution, ms in admissible),
        key=lambda option: option.ms,
    )


def _option(
    network: str, resolution: int, estimate: float, measured: dict[tuple[str, int], float]
) -> NetworkOption:
    measured_ms = measured.get((network, resolution))
    return NetworkOption(network, resolution, measured_ms or estimate, is_measured=measured_ms is not None)


def _measured_times() -> dict[tuple[str, int], float]:
    """(network, resolution) → median of the latest times in ms that trainings measured on CPU.

    Mixtures are left out: earlier releases stored one of a network with itself under that network's name.
    """
    is_mixture = Q(recipe__contains=" + ") | Q(recipe__startswith="joint")
    rows = Candidate.objects.filter(
        is_measured=True, inference_ms__gt=0, training_version__inference_hardware=Hardware.CPU
    ).exclude(is_mixture)
    times: dict[tuple[str, int], list[float]] = {}
    for network, resolution, ms in rows.order_by("pk").values_list("network", "resolution", "inference_ms"):
        times.setdefault((network, resolution), []).append(ms or 0.0)
    return {option: median(measured[-LATEST_TIMES:]) for option, measured in times.items()}

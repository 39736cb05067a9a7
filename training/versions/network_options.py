"""Which networks answer in time on the expected hardware: what the form and the receipt say. No torch."""

from __future__ import annotations

from typing import NamedTuple, cast

from training.engine import Hardware as EngineHardware
from training.engine.backbones import latency
from training.models import Candidate, Hardware


class NetworkOption(NamedTuple):
    """A network at a resolution, and the time of one image: measured here, or an estimate."""

    network: str
    resolution: int
    ms: float
    is_measured: bool


def options_within(hardware: str, max_inference_ms: int) -> list[NetworkOption]:
    """The networks that answer one image within the limit, the fastest first."""
    return [one for one in options_by_speed(hardware) if one.ms <= max_inference_ms]


def fastest_per_network(fits: list[NetworkOption]) -> list[NetworkOption]:
    """The quickest resolution of each network; `fits` comes the fastest first."""
    first: dict[str, NetworkOption] = {}
    for one in fits:
        first.setdefault(one.network, one)
    return list(first.values())


def options_by_speed(hardware: str) -> list[NetworkOption]:
    """Every network on that hardware: as an earlier training measured it here, else estimated."""
    measured = _measured_times() if hardware == Hardware.CPU else {}
    every = latency.admissible_networks(cast(EngineHardware, hardware), float("inf"))
    return sorted(
        (_option(network.name, resolution, ms, measured) for network, resolution, ms in every),
        key=lambda one: one.ms,
    )


def _option(
    network: str, resolution: int, estimate: float, measured: dict[tuple[str, int], float]
) -> NetworkOption:
    known = measured.get((network, resolution))
    return NetworkOption(network, resolution, known or estimate, is_measured=known is not None)


def _measured_times() -> dict[tuple[str, int], float]:
    """The latest time that a training here measured for each (network, resolution) on CPU."""
    rows = Candidate.objects.filter(
        is_measured=True, inference_ms__gt=0, training_version__inference_hardware=Hardware.CPU
    ).order_by("pk")
    return {(row.network, row.resolution): row.inference_ms or 0.0 for row in rows}

"""Estimated milliseconds per image on hardware that is not in this machine; the networks within a limit."""

from __future__ import annotations

from collections.abc import Sequence

from training.engine.backbones.registry import Network, available_networks
from training.engine.config import EngineError, Hardware

# NVIDIA's published figures of the P4: 5.5 TFLOP/s float32, 192 GB/s. Small layers reach a part of them.
P4_FLOPS = 5.5e12
P4_BYTES_PER_S = 192e9
P4_EFFICIENCY = 0.5
P4_LAUNCH_MS = 0.01
COVARIANCE_LAUNCHES = 40  # small products of matrices [96, 96]: covariance.py
# Two ordinary server cores, float32, with a good runtime: an order of magnitude for the form.
# A fit for CPU measures instead.
CPU_FLOPS = 60e9
# Reading and shrinking one photo of about half a megapixel, which the host does on either hardware.
HOST_MS = 5.0


def estimate_ms(network: Network, resolution: int, hardware: Hardware) -> float:
    """Estimated milliseconds for one image, reading and shrinking included. An estimate, never a measurement.

    NV_P4: the larger of operations / rate and bytes / bandwidth (roofline, Williams et al. 2009) over
    the whole network, at half the published peaks, plus a launch for each layer. CPU: operations only.
    """
    area = (resolution / network.resolution) ** 2
    operations = 2 * network.macs * area
    if hardware == "CPU":
        return HOST_MS + 1e3 * operations / CPU_FLOPS
    compute_s = operations / (P4_FLOPS * P4_EFFICIENCY)
    memory_s = network.bytes_moved * area / (P4_BYTES_PER_S * P4_EFFICIENCY)
    return HOST_MS + 1e3 * max(compute_s, memory_s) + network.layers * P4_LAUNCH_MS


def estimate_total_ms(parts: Sequence[tuple[Network, int]], hardware: Hardware) -> float:
    """Estimated milliseconds of several networks, one after the other, on an image that is read once."""
    return HOST_MS + sum(estimate_ms(network, size, hardware) - HOST_MS for network, size in parts)


def admissible_networks(hardware: Hardware, max_inference_ms: float) -> list[tuple[Network, int, float]]:
    """(network, resolution, ms) whose estimate fits the limit, the fastest first."""
    return [option for option in _networks_by_latency(hardware) if option[2] <= max_inference_ms]


def fastest_network(hardware: Hardware) -> tuple[Network, int, float]:
    """The fastest (network, resolution, ms)."""
    return _networks_by_latency(hardware)[0]


def no_network_fits(max_inference_ms: float, name: str, resolution: int, ms: float) -> EngineError:
    """The error for a limit that no network meets; it names the fastest one."""
    return EngineError(
        f"No network answers within {max_inference_ms:g} ms: the fastest, {name} at {resolution} pixels, "
        f"takes about {ms:.1f} ms.",
        f"Raise Max. Inference Duration to at least {int(ms) + 1} ms.",
    )


def _networks_by_latency(hardware: Hardware) -> list[tuple[Network, int, float]]:
    options = [
        (network, resolution, estimate_ms(network, resolution, hardware))
        for network in available_networks()
        for resolution in network.resolutions
    ]
    return sorted(options, key=lambda option: option[2])

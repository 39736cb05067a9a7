"""Networks and their times in the form: estimates, or what trainings measured on this machine."""

from __future__ import annotations

import pytest

from tests.factories import make_project, make_version
from training.models import Candidate, Hardware, Status
from training.versions.network_options import options_by_speed

pytestmark = pytest.mark.django_db
LITE0 = "EfficientNet-Lite0"


def time_of(network: str) -> tuple[float, bool]:
    options = options_by_speed(Hardware.CPU)
    option = next(option for option in options if (option.network, option.resolution) == (network, 224))
    return option.ms, option.is_measured


def test_a_mixture_does_not_give_a_network_its_time() -> None:
    """Mixtures of a network with itself were stored under its plain name."""
    version = make_version(make_project(), 1, Status.COMPLETED, inference_hardware=Hardware.CPU)
    assert time_of(LITE0)[1] is False
    for network, recipe, ms in (
        (LITE0, "linear head", 6.0),
        (LITE0, "fine-tuned", 8.0),
        (LITE0, "fine-tuned", 40.0),  # measured while the machine was busy
        (LITE0, "fine-tuned + linear head", 13.0),
        (LITE0, "joint linear head", 21.0),
        (f"{LITE0} ×2", "joint linear head", 22.0),
    ):
        Candidate.objects.create(
            training_version=version,
            network=network,
            resolution=224,
            recipe=recipe,
            inference_ms=ms,
            is_measured=True,
        )
    assert time_of(LITE0) == (8.0, True)

"""The licences of pretrained weights stand where networks are listed, and with a model made of them."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path
from zipfile import ZipFile

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import make_project
from tests.pages import html_of
from tests.training.forms.test_configuration import typed
from tests.training.views.test_configuration import text
from tests.training.views.test_version import address, make_completed
from training.engine import CandidateReport
from training.engine.backbones import registry, weights

pytestmark = pytest.mark.django_db
FORBIDDEN = "not for commercial use"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's folder of weights. Pages only look whether a file is there."""
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_the_confirmation_and_the_preview_name_the_licence_of_each_network(
    folder: Path, alice: Client
) -> None:
    project = make_project(labels=2, images=10)
    answer = alice.post(
        reverse("configure_training", args=[project.pk]), typed() | {"submission": uuid.uuid4()}
    )
    assert "EfficientNet-Lite0 224 px Apache-2.0 " in text(answer)
    assert FORBIDDEN not in text(answer)

    (folder / "convnextv2_atto_1k_224_ema.pt").touch()
    (folder / "vit_small_patch14_dinov2.lvd142m.safetensors").touch()
    answer = alice.post(
        reverse("configure_training", args=[project.pk]), typed() | {"submission": uuid.uuid4()}
    )
    assert f"ConvNeXtV2-Atto 224 px CC-BY-NC-4.0 {FORBIDDEN} " in text(answer)
    assert "DINOv2-ViT-S14 308 px Apache-2.0 " in text(answer)
    limits = {"inference_hardware": "CPU", "max_inference_ms": "500"}
    preview = text(alice.get(reverse("networks_consequence", args=[project.pk]), limits))
    before, _, after = preview.partition("ConvNeXtV2-Atto")
    assert f"({FORBIDDEN})" in after.partition(",")[0] and FORBIDDEN not in before


@pytest.mark.parametrize(
    ("network", "licences"),
    [
        ("EfficientNet-Lite0 ×2 + ConvNeXtV2-Pico", ["Apache-2.0", "CC-BY-NC-4.0"]),
        ("ResNet-18", ["BSD-3-Clause"]),
        ("A network of another release", []),
    ],
)
def test_a_version_and_its_archive_name_the_licences_of_the_chosen_model(
    network: str, licences: list[str], vera: Client
) -> None:
    assert registry.licences_of(network) == licences
    chosen = CandidateReport(network, 224, "fine-tuned", 0.9, 6.2, False, True, 9.4, True)
    other = CandidateReport("ConvNeXtV2-Atto", 224, "linear head", 0.8, 6.2, False, True, 9.4, False)
    version = make_completed(candidates=(chosen, other))
    overview = html_of(vera.get(address(version.project)))
    assert (FORBIDDEN in overview) == ("CC-BY-NC-4.0" in licences)
    details = html_of(vera.get(reverse("version_details", args=[version.project_id, 1])))
    assert ("Licence of the pretrained weights" in details) == bool(licences)
    assert ", ".join(licences) in details
    archive = vera.get(reverse("version_archive", args=[version.project_id, 1]))
    with ZipFile(io.BytesIO(b"".join(archive.streaming_content))) as file:
        assert json.loads(file.read("parameters.json"))["weights_licences"] == licences

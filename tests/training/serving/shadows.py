"""A second version that sees blue for red, and calls that both versions predict."""

from __future__ import annotations

import json
from pathlib import Path

from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from projects.models import Project
from tests.factories import make_user, make_version
from tests.training.bundles import colour_picture, give_bundle
from training.models import Service, Status, TrainingVersion
from training.serving import rollout
from training.serving.calls import shadow


def make_rival(project: Project, number: int = 2) -> TrainingVersion:
    """It answers “blue” to a red picture and “red” to a blue one."""
    version = make_version(project, number, Status.COMPLETED, accuracy=0.9)
    give_bundle(version)
    file = Path(default_storage.path(f"{version.folder}/bundle/bundle.json"))
    description = json.loads(file.read_text())
    swapped = {"red": "blue", "blue": "red"}
    description["labels"] = [swapped.get(label, label) for label in description["labels"]]
    file.write_text(json.dumps(description))
    return version


def add_second(service: Service, version: TrainingVersion, percent: int = 0) -> None:
    """As the shadow, or as the canary; what the worker does included."""
    rollout.change_version(service, version, make_user("alice"), percent=percent)
    rollout.change_over(str(service.pk))
    service.refresh_from_db()


def call(opened: tuple[Service, str], colour: str = "red", seed: int = 0) -> dict[str, object]:
    """The answer to a picture, which differs for every seed."""
    service, token = opened
    picture = SimpleUploadedFile("photo.png", colour_picture(colour, size=(40 + seed, 30)))
    response = Client().post(f"/v1/infers/{service.pk}", {"images": picture}, headers={"X-Auth-Token": token})
    assert response.status_code == 200, response.content
    return dict(response.json())


def work_off() -> None:
    """What the thread of a web process does."""
    while shadow.predict_next():
        pass
    shadow.flush()

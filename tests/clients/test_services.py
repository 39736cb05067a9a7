"""Services of the Python client against the real server: the versions behind their address are exchanged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from django.core.files.storage import default_storage

import exeml
from tests.clients.conftest import Client
from tests.factories import make_project, make_version
from tests.training.bundles import colour_picture, give_bundle
from tests.training.serving.shadows import make_rival
from training.models import Service, Status, TrainingVersion
from training.serving import deploy, rollout

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def rival(client: Client) -> Iterator[TrainingVersion]:
    """The second version of a project; it answers “blue” to a red picture."""
    version = make_version(make_project("flowers"), status=Status.COMPLETED)
    give_bundle(version)
    rival = make_rival(version.project)
    yield rival
    for each in (version, rival):
        shutil.rmtree(default_storage.path(each.folder))


@pytest.fixture
def service(client: Client, rival: TrainingVersion) -> exeml.Service[exeml.Blocking]:
    service = client.project("flowers").deploy(1)
    with pytest.raises(exeml.NotEnded):
        service.wait(timeout_s=0)
    deploy.bring_up(service.id)
    return service.wait()


def test_a_canary_takes_over_and_gives_way_again(service: exeml.Service[exeml.Blocking]) -> None:
    red = colour_picture("red")
    service.share(2, percent=20)
    with pytest.raises(exeml.NotEnded):
        service.wait(timeout_s=0)
    rollout.change_over(service.id)
    service.wait()
    assert (service.version_number, service.canary_version_number, service.canary_percent) == (1, 2, 20)
    answers = {prediction.version for prediction in map(service.predict, [red] * 60)}
    assert answers == {"V001", "V002"}

    service.change_version(2)
    rollout.change_over(service.id)
    assert service.wait().canary_version_number is None
    assert service.predict(red).predicted_label == "blue"

    service.roll_back()
    rollout.change_over(service.id)
    service.wait()
    assert service.predict(red).predicted_label == "red"


def test_a_version_that_cannot_be_loaded_is_reported(
    service: exeml.Service[exeml.Blocking], rival: TrainingVersion
) -> None:
    default_storage.delete(f"{rival.folder}/bundle/model.onnx")
    service.change_version(2)
    rollout.change_over(service.id)
    with pytest.raises(exeml.NotCompleted, match=r"V002 .*could not take over.* V001 still answers"):
        service.wait()
    assert Service.objects.get().is_running

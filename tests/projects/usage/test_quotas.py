"""Limits of a team: what is refused, with which sentence, and that nothing is half-written."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from projects.models import DatasetVersion, Image, Project, TeamQuota, Transfer
from tests.factories import make_project, make_team, make_user, make_version, picture_bytes
from training.models import InstanceFlavor, Status, TrainingVersion
from training.versions import lifecycle

pytestmark = pytest.mark.django_db
MB = 1_000_000


def limit(**limits: Any) -> None:
    TeamQuota.objects.update_or_create(team=make_team(), defaults=limits)


def start(project: Project, minutes: int = 60, price: str = "0") -> TrainingVersion:
    flavor = InstanceFlavor.objects.get(is_default=True)
    flavor.price_per_hour = Decimal(price)
    request = lifecycle.TrainingRequest(
        dataset_version=f"V{uuid4().hex[:6]}",
        training_ratio=Decimal("0.8"),
        incremental_version=None,
        inference_hardware="CPU",
        max_inference_ms=500,
        max_training_minutes=minutes,
        flavor=flavor,
    )
    return lifecycle.start(project, request, by=make_user("alice"), submission=uuid4())


def refusal(project: Project, **options: Any) -> str:
    before = (TrainingVersion.objects.count(), DatasetVersion.objects.count())
    with pytest.raises(lifecycle.TrainingRefused) as refused:
        start(project, **options)
    assert (TrainingVersion.objects.count(), DatasetVersion.objects.count()) == before
    return str(refused.value)


def test_without_limits_everything_is_allowed() -> None:
    project = make_project()
    start(project, 6000, "100")
    limit()  # a row whose limits are empty
    start(project, 6000, "100")


def test_trainings_at_a_time() -> None:
    project = make_project()
    limit(max_concurrent_trainings=1)
    first = start(project)
    assert refusal(project) == (
        "Greenhouse may have 1 training at a time and has 1. Wait until one ends, or ask an operator to "
        "raise the limit."
    )
    lifecycle.stop(first, make_user("alice"))
    start(project)


def test_training_hours_count_what_ended_and_the_limits_of_what_is_active() -> None:
    project, now = make_project(), timezone.now()
    limit(max_training_hours=4)
    make_version(project, 90, Status.COMPLETED, started_at=now - timedelta(minutes=60), finished_at=now)
    start(project, 120)
    sentence = refusal(project, minutes=90)
    assert "may take 1.50." in sentence and "of its 4.00 training hours" in sentence
    if (now - timedelta(minutes=60)).month == now.month:
        assert "has used 3.00" in sentence
        start(project, 60)
        assert "has used 4.00" in refusal(project, minutes=6)


def test_the_budget_counts_the_price_of_each_training(settings: Any) -> None:
    settings.EXEML_CURRENCY = "EUR"
    project = make_project()
    limit(max_cost=Decimal("5.00"))
    start(project, 60, "3.00")
    sentence = refusal(project, minutes=60, price="2.50")
    assert "has used 3.00 of its 5.00 EUR" in sentence and "may cost 2.50" in sentence
    start(project, 60, "2.00")


def test_another_team_is_not_limited() -> None:
    limit(max_concurrent_trainings=0)
    start(make_project("own", team=make_user("mallory").memberships.first() and _strangers()))


def _strangers() -> Any:
    make_team()
    return make_user("mallory").memberships.get().team


def test_the_form_says_which_limit_refuses_it(alice: Client) -> None:
    project = make_project()
    limit(max_training_hours=0.5)
    fields = {
        "dataset_version": "V001",
        "training_ratio": "0.8",
        "incremental_version": "",
        "inference_hardware": "CPU",
        "max_inference_ms": "500",
        "max_training_hours": "1",
        "instance_flavor": InstanceFlavor.objects.get(is_default=True).pk,
        "submission": str(uuid4()),
    }
    answer = alice.post(f"/projects/{project.pk}/train-model/configure/submit/", fields)
    assert answer.status_code == 409
    assert "of its 0.50 training hours of this month" in answer.content.decode()
    assert not TrainingVersion.objects.exists()


def test_a_retry_is_refused_with_the_same_sentence(alice: Client) -> None:
    project = make_project()
    version = make_version(project, status=Status.FAILED)
    limit(max_concurrent_trainings=0)
    url = f"/projects/{project.pk}/train-model/{version.number}/retry/"
    assert "may have 0 trainings at a time" in alice.post(url, follow=True).content.decode()
    version.refresh_from_db()
    assert version.status == Status.FAILED


def upload(client: Client, project: Project, seed: int) -> dict[str, Any]:
    file = SimpleUploadedFile("a.png", picture_bytes(seed))
    headers = {"Accept": "application/json"}
    answer = client.post(f"/projects/{project.pk}/images/upload/", {"files": [file]}, headers=headers)
    return answer.json()["outcomes"][0]  # type: ignore[no-any-return]


def test_a_full_storage_refuses_new_files_and_takes_them_after_a_raise(bob: Client) -> None:
    project = make_project(labels=1, images=1)
    Image.objects.update(size_bytes=10 * MB)
    make_version(project, status=Status.COMPLETED, model_bytes=10 * MB)
    limit(max_storage_gb=0.02)
    refused = upload(bob, project, 99)
    assert (refused["status"], refused["code"]) == ("refused", 422)
    assert refused["reason"] == (
        "Greenhouse has used 0.020 of its 0.020 GB. Delete images or models, or ask an operator to raise the "
        "limit."
    )
    assert Image.objects.count() == 1
    limit(max_storage_gb=0.021)
    assert upload(bob, project, 99)["status"] == "added"


def test_an_import_that_does_not_fit_is_refused_before_its_upload(bob: Client) -> None:
    project = make_project(images=0)
    limit(max_storage_gb=0.001)
    fields = {"file_list": json.dumps([{"name": "a.zip", "size": 2 * MB}])}
    headers = {"Accept": "application/json"}
    answer = bob.post(f"/projects/{project.pk}/transfers/new/", fields, headers=headers)
    assert answer.status_code == 422 and "has used 0.000 of its 0.001 GB" in answer.json()["error"]
    assert not Transfer.objects.exists()

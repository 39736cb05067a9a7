"""Second predictions: kept and never given, and no caller waits for them or notices their failures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError
from django.utils import timezone

from tests.factories import make_user
from tests.training.serving.shadows import add_second, call, make_rival, work_off
from training.models import CollectedCall, Service, ShadowAnswer, ShadowCount, TrainingVersion
from training.serving import deploy, rollout
from training.serving.calls import feedback, shadow
from training.serving.inference import model_cache


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_waiting", shadow.Waiting())


@pytest.fixture
def rival(version: TrainingVersion) -> Iterator[TrainingVersion]:
    rival = make_rival(version.project)
    yield rival
    shutil.rmtree(default_storage.path(rival.folder), ignore_errors=True)
    shutil.rmtree(settings.FILES_DIR / "services", ignore_errors=True)


def counts(service: Service) -> tuple[int, int, int, int]:
    row = ShadowCount.objects.get(service=service)
    return row.images, row.agreed, row.skipped, row.failed


def test_the_answers_of_a_shadow_are_kept_and_not_given(opened, rival: TrainingVersion) -> None:
    service = opened[0]
    before = call(opened)
    add_second(service, rival)
    assert (
        service.has_shadow
        and service.events.first().message
        == "V002 is the shadow version: its answers are stored, not returned."
    )
    answers = [call(opened, colour) for colour in ("red", "green", "blue")]
    assert [answer["predicted_label"] for answer in answers] == ["red", "green", "blue"]
    assert {answer["version"] for answer in answers} == {"V001"} and answers[0].keys() == before.keys()
    work_off()
    assert counts(service) == (3, 1, 0, 0)
    kept = {row.predicted[0]: row.shadow_predicted[0] for row in ShadowAnswer.objects.all()}
    assert kept == {"red": "blue", "blue": "red"}  # the pair that agrees is counted; no image was collected
    assert {str(row.pk) for row in ShadowAnswer.objects.all()} == {
        answers[0]["request_id"],
        answers[2]["request_id"],
    }


def test_collected_images_keep_the_answers_of_both_with_them(opened, rival: TrainingVersion) -> None:
    service = opened[0]
    deploy.set_collecting(service, True, 30, make_user("alice"))
    add_second(service, rival)
    for colour in ("red", "green"):
        call(opened, colour)
    work_off()
    pairs = {row.shadow_answer.agrees for row in CollectedCall.objects.select_related("shadow_answer")}
    assert ShadowAnswer.objects.count() == 2 and pairs == {True, False}


def test_what_a_canary_answers_is_predicted_by_the_other_version(opened, rival: TrainingVersion) -> None:
    service = opened[0]
    add_second(service, rival, percent=99)
    given = [call(opened)["version"] for _ in range(20)]
    assert "V002" in given
    work_off()
    assert counts(service) == (20, 0, 0, 0)
    both = {(row.predicted[0], row.shadow_predicted[0]) for row in ShadowAnswer.objects.all()}
    assert both == {("red", "blue")}  # whichever of them was given


def test_a_shadow_that_cannot_answer_costs_nobody_an_answer(opened, rival: TrainingVersion) -> None:
    service = opened[0]
    add_second(service, rival)
    model_cache._cache.pop((rival.job_id, "float32"))  # as in a process that was started since
    shutil.rmtree(Path(default_storage.path(rival.folder)))
    assert call(opened)["predicted_label"] == "red"
    work_off()
    assert counts(service) == (0, 0, 0, 1)


def test_an_error_on_taking_an_image_costs_nobody_an_answer(
    opened, rival: TrainingVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_second(opened[0], rival)
    monkeypatch.setattr(shadow, "_waiting", None)
    assert call(opened)["predicted_label"] == "red"


def test_images_that_find_no_place_are_counted_as_skipped(
    opened, rival: TrainingVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened[0]
    add_second(service, rival)
    monkeypatch.setattr(shadow, "MAX_WAITING", 3)
    for _ in range(5):
        call(opened)
    work_off()
    assert counts(service) == (3, 0, 2, 0)
    monkeypatch.setattr(shadow, "MAX_WAITING_BYTES", 10)
    call(opened)
    work_off()
    assert counts(service) == (3, 0, 3, 0)


def test_nothing_is_predicted_twice_without_a_shadow(opened, rival: TrainingVersion) -> None:
    service = opened[0]
    call(opened)
    add_second(service, rival)
    rollout.end_canary(service, make_user("alice"))
    call(opened)
    work_off()
    assert not ShadowCount.objects.exists() and not service.has_shadow
    assert service.events.first().message == "V002 is no longer the shadow version."


def test_counts_survive_a_database_that_cannot_be_written(
    opened, rival: TrainingVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened[0]
    add_second(service, rival)
    call(opened)

    def locked(*_: object) -> None:
        raise DatabaseError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(shadow, "_write", locked)
        work_off()
    call(opened, "green")
    work_off()
    assert counts(service) == (2, 1, 0, 0) and ShadowAnswer.objects.count() == 1


def test_an_image_deleted_before_the_answers_are_written_takes_only_its_own(
    opened, rival: TrainingVersion
) -> None:
    service = opened[0]
    deploy.set_collecting(service, True, 30, make_user("alice"))
    add_second(service, rival)
    first, second = call(opened), call(opened, "blue")
    feedback._delete_calls(CollectedCall.objects.filter(pk=first["request_id"]))
    work_off()
    assert [str(row.pk) for row in ShadowAnswer.objects.all()] == [second["request_id"]]
    assert counts(service) == (2, 0, 0, 0)


def test_answers_are_kept_as_long_as_images(opened, rival: TrainingVersion) -> None:
    service = opened[0]
    add_second(service, rival)
    for seed in range(2):
        call(opened, seed=seed)
    work_off()
    old = ShadowAnswer.objects.first()
    long_ago = timezone.now() - timedelta(days=service.keeps_days, minutes=1)
    ShadowAnswer.objects.filter(pk=old.pk).update(at=long_ago)
    assert shadow.forget_old() == 1 and not ShadowAnswer.objects.filter(pk=old.pk).exists()
    deploy.delete(service, make_user("alice"))
    assert shadow.forget_old() == 1 and not ShadowAnswer.objects.exists()


def test_second_predictions_wait_while_calls_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "FLUSH_INTERVAL_S", 0.1)
    assert shadow.has_pause()
    monkeypatch.setattr(shadow.call_limit, "_inside", shadow.MAX_CALLS_BESIDE)
    assert not shadow.has_pause()

"""Training versions for programs: what the page shows and does, with the page's sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from projects.models import AuditEvent, DatasetVersion, Project
from tests.factories import cpu_flavor, default_flavor, make_project, make_user, make_version
from tests.projects.api.callers import ApiClient
from training.api.versions import TrainingCreation
from training.forms.configuration import TrainingConfigurationForm
from training.models import Service, Status, TrainingVersion
from training.models.version import ACTIVE

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db: None) -> Project:
    return make_project()


@pytest.fixture
def alice(project: Project) -> ApiClient:
    return ApiClient(make_user("alice"))


def path(project: Project, *parts: object) -> str:
    return "/".join([f"/projects/{project.pk}/versions", *map(str, parts)])


def errors(answer: Any) -> dict[str, str]:
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


# --- start ---


def test_a_call_has_exactly_the_fields_and_defaults_of_training_configuration(project: Project) -> None:
    form = TrainingConfigurationForm(project=project)
    assert list(TrainingCreation.model_fields) == list(form.fields)
    typed = {name: str(value) for name, value in form.initial.items()}
    assert {name: str(value) for name, value in TrainingCreation().typed(project).items()} == typed
    properties = TrainingCreation.json_schema()["properties"]
    for name in ("training_ratio", "max_inference_ms", "max_training_hours"):
        assert properties[name]["default"] == float(form.initial[name])
    assert properties["inference_hardware"]["default"] == form.initial["inference_hardware"]


def test_an_empty_call_trains_with_the_documented_defaults(alice: ApiClient, project: Project) -> None:
    answer = alice.post(path(project), {})
    version = TrainingVersion.objects.get()
    assert answer.status_code == 200
    assert (version.number, version.status, version.submitted_by) == (
        1,
        Status.INITIALIZING,
        make_user("alice"),
    )
    expected = {
        "number": 1,
        "name": "V001",
        "status": "Initializing",
        "dataset_version": "V001",
        "training_ratio": 0.8,
        "incremental_version": None,
        "inference_hardware": "NV_P4",
        "max_inference_ms": 500,
        "max_training_hours": 1.0,
        "instance_flavor": default_flavor().pk,
        "submitted_by": "alice",
        "accuracy": None,
    }
    assert {name: answer.json()[name] for name in expected} == expected
    assert answer.json()["progress"]["message"] == "Waiting for a worker"
    assert AuditEvent.objects.get(kind="training.started").way == "api"


def test_every_field_is_taken_and_a_base_is_named_by_its_number(alice: ApiClient, project: Project) -> None:
    base = make_version(
        project, 3, Status.COMPLETED, accuracy=0.9, inference_hardware="CPU", max_inference_ms=77
    )
    answer = alice.post(
        path(project),
        {
            "dataset_version": "night",
            "training_ratio": 0.75,
            "incremental_version": base.number,
            "max_training_hours": 0.5,
            "instance_flavor": cpu_flavor().pk,
        },
    )
    version = TrainingVersion.objects.get(number=4)
    assert (version.dataset_version.name, str(version.training_ratio)) == ("night", "0.75000")
    assert (version.incremental_version, version.max_training_minutes) == (base, 30)
    assert (version.inference_hardware, version.max_inference_ms) == ("CPU", 77)  # inherited
    assert (answer.json()["incremental_version"], answer.json()["max_training_hours"]) == (3, 0.5)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("dataset_version", "a b", "Use 1 to 32 letters"),
        ("dataset_version", "taken", "already has a dataset version “taken”"),
        ("training_ratio", 1, "Enter a ratio above 0 and below 1"),
        ("training_ratio", 0.123456, "Enter a ratio above 0 and below 1"),
        ("training_ratio", "NaN", "Enter a ratio above 0 and below 1"),
        ("training_ratio", 1e300, "Enter a ratio above 0 and below 1"),
        ("training_ratio", "many", "valid number"),
        ("incremental_version", 9, "Choose a Completed training version"),
        ("incremental_version", 0, "greater than or equal to 1"),
        ("inference_hardware", "TPU", "Choose NV_P4 or CPU."),
        ("max_inference_ms", 20001, "from 1 to 20000 milliseconds"),
        ("max_training_hours", 0.05, "Enter 0.1 to 100 hours"),
        ("max_training_hours", 1e-7, "Enter 0.1 to 100 hours"),
        ("instance_flavor", 999999, "Choose one of the offered flavors."),
    ],
)
def test_a_wrong_value_is_refused_at_its_field(
    alice: ApiClient, project: Project, field: str, value: object, sentence: str
) -> None:
    DatasetVersion.objects.create(project=project, name="taken", training_ratio="0.8")
    answer = alice.post(path(project), {field: value})
    assert answer.status_code == 422 and sentence in errors(answer)[field]
    assert not TrainingVersion.objects.exists()


def test_a_project_that_is_not_ready_says_what_is_missing(alice: ApiClient) -> None:
    answer = alice.post(path(make_project("few", labels=1, images=3)), {})
    assert answer.status_code == 422 and "label-0" in answer.json()["detail"]
    assert {error["field"] for error in answer.json()["errors"]} == {""}


def test_a_call_with_a_key_starts_one_training(alice: ApiClient, project: Project) -> None:
    key = {"Idempotency-Key": "tonight"}
    answers = [alice.post(path(project), {}, **key).json() for _ in range(2)]
    assert answers[0] == answers[1] and TrainingVersion.objects.count() == 1


# --- list and progress ---


def test_versions_are_listed_newest_first_in_the_same_queries(
    alice: ApiClient, project: Project, django_assert_num_queries: Any
) -> None:
    for number in (1, 2, 3, 4):
        status = Status.COMPLETED if number % 2 else Status.FAILED
        make_version(project, number, status, accuracy=0.9)
    alice.get("/account")  # notes the use of the token
    with django_assert_num_queries(4):
        body = alice.get(path(project) + "?limit=3").json()
    assert [item["number"] for item in body["items"]] == [4, 3, 2]
    assert body["items"][0]["accuracy"] == 0.9 and "progress" not in body["items"][0]
    rest = alice.get(path(project) + f"?limit=3&cursor={body['next']}&fields=number").json()
    assert rest == {"items": [{"number": 1}], "next": None}
    failed = alice.get(path(project) + "?status=Failed&fields=number").json()["items"]
    assert [item["number"] for item in failed] == [4, 2]
    assert alice.get(path(project) + "?status=Asleep").status_code == 422
    TrainingVersion.objects.filter(number=3).update(deleted_at=timezone.now(), is_starred=True)
    TrainingVersion.objects.filter(number=1).update(is_starred=True)
    starred = alice.get(path(project) + "?is_starred=true&fields=number").json()["items"]
    assert [item["number"] for item in starred] == [1]
    assert alice.get(path(project, 3)).status_code == 404


def test_a_running_version_shows_the_progress_of_its_page(alice: ApiClient, project: Project) -> None:
    progress = {
        "message": "Fine-tuning",
        "used_s": 60.0,
        "remaining_s": 40.0,
        "remaining_at_s": 60.0,
        "best_accuracy": 0.8,
        "judged": 64,
        "notes": ["One image could not be read."],
    }
    old = timezone.now() - timedelta(hours=1)  # nothing is counted since
    make_version(project, 1, Status.RUNNING, progress=progress, heartbeat_at=old)
    body = alice.get(path(project, 1)).json()
    assert body["progress"] == {
        "message": "Fine-tuning",
        "elapsed_s": 60.0,
        "limit_s": 3600.0,
        "remaining_s": 40.0,
        "share": 0.6,
        "best_accuracy": 0.8,
        "judged_count": 64,
        "notes": ["One image could not be read."],
        "is_stopping": False,
    }
    TrainingVersion.objects.update(status=Status.COMPLETED, finished_at=timezone.now())
    assert alice.get(path(project, 1)).json()["progress"] is None


# --- notes, stop, retry, time, promotion, deletion ---


def test_a_note_changes_what_is_given_and_nothing_else(project: Project) -> None:
    make_version(project, 1, Status.COMPLETED)
    bob = ApiClient(make_user("bob"))
    bob.patch(path(project, 1), {"title": "before the move", "is_starred": True})
    body = bob.patch(path(project, 1), {"note": "Greenhouse 2"}).json()
    assert (body["title"], body["note"], body["is_starred"]) == ("before the move", "Greenhouse 2", True)
    answer = bob.patch(path(project, 1), {"title": "x" * 65, "is_starred": False})
    assert answer.status_code == 422 and "title" in errors(answer)
    assert TrainingVersion.objects.get().is_starred
    assert ApiClient(make_user("vera")).patch(path(project, 1), {}).status_code == 403


def test_a_training_is_stopped_and_tried_again(alice: ApiClient, project: Project) -> None:
    make_version(project, 1)
    stopped = alice.post(path(project, 1, "stop"))
    assert (stopped.status_code, stopped.json()["status"]) == (200, "Stopped")
    again = alice.post(path(project, 1, "stop"))
    assert (again.status_code, again.json()["detail"]) == (409, "V001 is Stopped. There is nothing to stop.")
    retried = alice.post(path(project, 1, "retry")).json()
    assert (retried["status"], retried["attempt"]) == ("Initializing", 2)
    refused = alice.post(path(project, 1, "retry"))
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "Nothing changed: V001 is Initializing.",
    )


def test_a_running_training_is_asked_to_stop_once(alice: ApiClient, project: Project) -> None:
    make_version(project, 1, Status.RUNNING)
    answers = [alice.post(path(project, 1, "stop")) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["progress"]["is_stopping"]
    assert AuditEvent.objects.filter(kind="training.stopped").count() == 1


def test_time_is_added_to_a_completed_version(alice: ApiClient, project: Project) -> None:
    base = make_version(project, 1, Status.COMPLETED)
    key = {"Idempotency-Key": "more"}
    for _ in range(2):
        body = alice.post(path(project, 1, "add-time"), {"more_hours": 0.25}, **key).json()
    assert (body["number"], body["incremental_version"], body["max_training_hours"]) == (2, 1, 0.25)
    assert TrainingVersion.objects.get(number=2).dataset_version == base.dataset_version
    assert TrainingVersion.objects.count() == 2
    too_long = alice.post(path(project, 1, "add-time"), {"more_hours": 101})
    assert too_long.status_code == 422 and "0.1 to 100 hours" in errors(too_long)["more_hours"]
    active = alice.post(path(project, 2, "add-time"), {})
    assert active.status_code == 409 and "only to a Completed version" in active.json()["detail"]


def test_another_candidate_becomes_a_version(alice: ApiClient, project: Project) -> None:
    version = make_version(project, 1, Status.COMPLETED)
    fields = {"resolution": 224, "recipe": "linear head"}
    best = version.candidates.create(network="lite0", is_best=True, place=0, **fields)
    other = version.candidates.create(network="lite1", place=1, **fields)
    gone = version.candidates.create(network="lite2", **fields)

    def promote(candidate_id: int) -> Any:
        return alice.post(path(project, 1, "promote"), {"candidate_id": candidate_id})

    body = promote(other.pk).json()
    assert (body["number"], body["promoted_from"]) == (2, 1)
    assert "already the model" in promote(best.pk).json()["detail"]
    assert promote(gone.pk).status_code == 409 and "not stored" in promote(gone.pk).json()["detail"]
    unknown = promote(gone.pk + 1)
    assert unknown.status_code == 422 and errors(unknown) == {"candidate_id": "V001 has no such candidate."}


def test_a_version_is_deleted_unless_it_is_needed(alice: ApiClient, project: Project) -> None:
    version = make_version(project, 1, Status.COMPLETED)
    Service.objects.create(project=project, training_version=version, name="flowers")
    refused = alice.delete(path(project, 1))
    assert refused.status_code == 409 and "Delete that service first." in refused.json()["detail"]
    Service.objects.all().delete()
    assert alice.delete(path(project, 1)).status_code == 204
    assert (
        alice.get(path(project, 1)).status_code == 404 and alice.delete(path(project, 1)).status_code == 404
    )


@pytest.mark.parametrize("status", sorted(ACTIVE))
def test_an_active_version_is_not_deleted(alice: ApiClient, project: Project, status: str) -> None:
    make_version(project, 1, status)
    answer = alice.delete(path(project, 1))
    assert (answer.status_code, answer.json()["detail"]) == (409, f"V001 is {status}. Stop it first.")

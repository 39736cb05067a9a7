"""Dataset versions for programs: listed, read, compared, restored."""

from __future__ import annotations

from typing import Any

import pytest

from exeml_site.lib import storage
from projects.formats import manifest
from projects.labels import actions
from projects.models import AuditEvent, DatasetVersion, LabelEvent, Project, Split
from tests.factories import make_image, make_project, make_user
from tests.projects.api.callers import ApiClient
from tests.projects.datasets.test_compare import label, publish
from tests.projects.transfers.import_factories import labels_by_name

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db: None) -> Project:
    return make_project(labels=2, images=10)


@pytest.fixture
def alice(project: Project) -> ApiClient:
    return ApiClient(make_user("alice"))


def path(project: Project, *parts: object) -> str:
    return "/".join([f"/projects/{project.pk}/dataset-versions", *map(str, parts)])


def test_versions_are_listed_newest_first_in_the_same_queries(
    alice: ApiClient, project: Project, django_assert_num_queries: Any
) -> None:
    for name in ("V001", "V002", "night"):
        publish(project, name)
    DatasetVersion.objects.create(project=project, name="reserved", training_ratio="0.8")
    alice.get("/account")  # notes the use of the token
    with django_assert_num_queries(4):
        body = alice.get(path(project) + "?limit=3").json()
    assert [item["name"] for item in body["items"]] == ["reserved", "night", "V002"]
    reserved, night, _ = body["items"]
    assert (reserved["published_at"], reserved["image_count"], reserved["created_by"]) == (None, 0, None)
    assert (night["image_count"], night["training_image_count"], night["validation_image_count"]) == (
        20,
        16,
        4,
    )
    rest = alice.get(path(project) + f"?cursor={body['next']}&fields=name").json()
    assert rest == {"items": [{"name": "V001"}], "next": None}


def test_a_version_tells_the_images_of_its_labels(alice: ApiClient, project: Project) -> None:
    version = publish(project, "V001")
    body = alice.get(path(project, "v001")).json()
    assert (body["name"], body["sha256"], body["created_by"]) == ("V001", version.sha256, "alice")
    assert body["training_ratio"] == 0.8 and body["ratio_note"] == ""
    assert body["labels"] == [
        {
            "label": f"label-{number}",
            "training_image_count": 8,
            "validation_image_count": 2,
            "test_image_count": 0,
        }
        for number in (0, 1)
    ]
    assert alice.get(path(project, "V009")).status_code == 404


def test_the_manifest_comes_as_it_was_published(alice: ApiClient, project: Project) -> None:
    version = publish(project, "V001")
    answer = alice.get(path(project, "V001", "manifest"))
    content = answer.getvalue()
    with storage.local_path(version.manifest).open("rb") as file:
        assert content == file.read()
    assert answer["Content-Disposition"] == 'attachment; filename="flowers-V001.manifest"'
    assert len(list(manifest.read(content.splitlines(keepends=True)))) == 20
    storage.delete_file(version.manifest)
    missing = alice.get(path(project, "V001", "manifest"))
    assert missing.status_code == 409 and "is missing" in missing.json()["detail"]


def test_what_is_not_published_has_no_images(alice: ApiClient, project: Project) -> None:
    DatasetVersion.objects.create(project=project, name="V001", training_ratio="0.8")
    publish(project, "V002")
    assert alice.get(path(project, "V001")).status_code == 200
    for part in ("manifest", "compare?with=V002", "restore"):
        answer = alice.get(path(project, "V001", part))
        assert (answer.status_code, answer.json()["detail"]) == (404, "V001 is not published yet.")
    answer = alice.get(path(project, "V002", "compare?with=V001"))
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "with"
    assert alice.get(path(project, "V002", "compare")).json()["errors"][0]["field"] == "with"


def test_two_versions_are_compared(alice: ApiClient, project: Project) -> None:
    publish(project, "V001")
    label(project, 3, "label-1")
    gone = project.images.get(name="picture-5.png")
    actions.delete_images(project, [gone.pk], make_user("bob"))
    new = make_image(project, 500, [project.labels.first()])
    publish(project, "V002")
    body = alice.get(path(project, "V002", "compare?with=v001")).json()
    assert body["counts"] == {"added": 1, "removed": 1, "relabeled": 1, "moved": 0}
    found = {item["kind"]: item for item in body["items"]}
    assert found["added"]["image_id"] == new.pk and found["added"]["before"] is None
    assert found["added"]["after"]["labels"] == ["label-0"]
    assert found["removed"]["image_id"] == gone.pk and found["removed"]["after"] is None
    relabeled = found["relabeled"]
    assert (relabeled["before"]["labels"], relabeled["after"]["labels"]) == (["label-0"], ["label-1"])
    assert relabeled["before"]["split"] in Split.values
    one = alice.get(path(project, "V002", "compare?with=V001&kind=removed")).json()["items"]
    assert [item["image_id"] for item in one] == [gone.pk]
    first = alice.get(path(project, "V002", "compare?with=V001&limit=2")).json()
    rest = alice.get(path(project, "V002", f"compare?with=V001&limit=2&cursor={first['next']}")).json()
    assert first["items"] + rest["items"] == body["items"]
    assert alice.get(path(project, "V002", "compare?with=V001&kind=lost")).status_code == 422


def test_labels_are_restored_as_was_announced(alice: ApiClient, project: Project) -> None:
    publish(project, "V001")
    label(project, 3, "label-1")
    make_image(project, 500, [project.labels.first()])
    announced = alice.get(path(project, "V001", "restore")).json()
    assert announced == {
        "relabeled_count": 1,
        "other_labeled_count": 1,
        "gone_count": 0,
        "missing_labels": [],
    }
    body = alice.post(path(project, "V001", "restore"), {"unlabel_others": True}).json()
    assert body["image_count"] == 2
    assert set(LabelEvent.objects.values_list("pk", flat=True)) >= set(body["event_ids"])
    assert len(body["event_ids"]) == 2
    labels = labels_by_name(project)
    assert (labels["picture-3.png"], labels["picture-500.png"]) == (["label-0"], [])
    again = alice.post(path(project, "V001", "restore"), {}).json()
    assert again == {"image_count": 0, "event_ids": []}
    assert ApiClient(make_user("bob")).post(path(project, "V001", "restore"), {}).status_code == 403


# --- publish ---


def test_the_labels_of_now_are_published_without_a_training(alice: ApiClient, project: Project) -> None:
    body = alice.post(path(project), {}).json()
    assert (body["name"], body["training_ratio"], body["created_by"]) == ("V001", 0.8, "alice")
    assert (body["training_image_count"], body["validation_image_count"]) == (16, 4)
    assert alice.get(path(project, "V001")).json() == body
    assert project.images.exclude(split="").count() == 20
    again = alice.post(path(project), {"name": "night", "training_ratio": 0.5}).json()
    assert (again["name"], again["training_ratio"]) == ("night", 0.5)
    assert alice.post(path(project), {}).json()["name"] == "V002"
    recorded = AuditEvent.objects.filter(kind="dataset.published").order_by("pk")
    assert list(recorded.values_list("target", "user_name", "way", "details")) == [
        (name, "alice", "api", {"images": 20}) for name in ("V001", "night", "V002")
    ]


def test_a_publication_with_a_key_is_made_once(alice: ApiClient, project: Project) -> None:
    answers = [alice.post(path(project), {}, **{"Idempotency-Key": "k"}).json() for _ in range(2)]
    assert answers[0] == answers[1] and DatasetVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "a b", "Use 1 to 32 letters"),
        ("name", "TAKEN", "already has a dataset version “TAKEN”"),
        ("name", "", "Give a name"),
        ("training_ratio", 1, "Enter a ratio above 0 and below 1"),
    ],
)
def test_a_publication_that_cannot_be_is_refused_at_its_field(
    alice: ApiClient, project: Project, field: str, value: object, sentence: str
) -> None:
    DatasetVersion.objects.create(project=project, name="taken", training_ratio="0.8")
    answer = alice.post(path(project), {field: value})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field and sentence in error["message"]
    assert DatasetVersion.objects.count() == 1


def test_a_project_that_is_not_ready_publishes_nothing(alice: ApiClient) -> None:
    few = make_project("few", labels=1, images=3)
    answer = alice.post(path(few), {})
    assert answer.status_code == 422 and "label-0" in answer.json()["detail"]
    assert ApiClient(make_user("bob")).post(path(few), {}).status_code == 403

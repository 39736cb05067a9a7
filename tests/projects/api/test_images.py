"""Images over the API: upload, list with the filters and sorts of Label Data, files, history, the bin."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.images.query import MAX_SEARCH_LENGTH
from projects.images.similarity import pack, sketches
from projects.labels import actions, metadata
from projects.models import Annotation, Embedding, Image, Label, LabelEvent, Project
from tests.factories import make_image, make_project, make_team, make_user, picture_bytes
from tests.projects.api.callers import ROOT, ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def bob() -> ApiClient:
    make_team()
    return ApiClient(make_user("bob"))


def path(project: Project, rest: str = "") -> str:
    return f"/projects/{project.pk}/images{rest}"


def picture(name: str, seed: int = 1) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, picture_bytes(seed))


def upload_named(client: ApiClient, project: Project, *files: tuple[str, bytes], **fields: str) -> Any:
    """A form whose files are named with folders, which a browser does not send."""
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts += [f'name="files"; filename="{name}"\r\n\r\n'.encode() + content for name, content in files]
    body = (
        b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--x--\r\n"
    )
    return client.client.post(
        ROOT + path(project),
        body,
        content_type="multipart/form-data; boundary=x",
        headers={"Authorization": f"Bearer {client.token}"},
    )


# --- Upload ---


def test_every_file_of_an_upload_has_its_outcome(bob: ApiClient) -> None:
    project = make_project(labels=0)
    there = make_image(project, 3)
    files = [
        picture("a.png", 1),
        SimpleUploadedFile("broken.jpg", b"<html></html>"),
        picture("again.png", 1),
        picture("there.png", 3),
        SimpleUploadedFile("empty.png", b""),
        picture("b.png", 2),
    ]
    answer = bob.upload(path(project), files)
    assert answer.status_code == 200
    items = answer.json()["items"]
    statuses = [item["status"] for item in items]
    assert statuses == ["stored", "refused", "duplicate", "duplicate", "refused", "stored"]
    first = Image.objects.get(name="a.png")
    assert items[0] == {
        "name": "a.png",
        "status": "stored",
        "image_id": first.pk,
        "sha256": hashlib.sha256(picture_bytes(1)).hexdigest(),
        "reason": "",
    }
    assert (items[2]["image_id"], items[3]["image_id"]) == (first.pk, there.pk)
    assert "the same picture as ‘picture-3.png’" in items[3]["reason"]
    assert (items[1]["image_id"], items[1]["sha256"]) == (None, None) and "web page" in items[1]["reason"]
    assert items[4]["reason"] == "The file is empty." and project.images.count() == 3
    assert first.uploaded_by == make_user("bob")


def test_an_image_of_the_bin_is_restored_by_its_upload(bob: ApiClient) -> None:
    project = make_project(labels=1, images=1)
    image = project.images.get()
    actions.delete_images(project, [image.pk], None)
    [item] = bob.upload(path(project), [SimpleUploadedFile("x.png", picture_bytes(0))]).json()["items"]
    assert (item["status"], item["image_id"]) == ("stored", image.pk)
    assert item["reason"] == "Restored from the bin with its labels."
    assert project.images.alive().count() == 1


def test_a_file_without_a_usable_name_is_not_left_out(bob: ApiClient) -> None:
    project = make_project(labels=0)
    files = [("..", picture_bytes(1)), ("/", picture_bytes(2)), ("a/.", picture_bytes(3))]
    items = upload_named(bob, project, *files).json()["items"]
    assert [(item["name"], item["status"]) for item in items] == [("unnamed", "stored")] * 3


def test_the_label_of_an_upload_is_given_to_all_its_images(bob: ApiClient) -> None:
    project = make_project(labels=1, images=1)
    files = [picture("a.png", 1), picture("b.png", 2), SimpleUploadedFile("has-one.png", picture_bytes(0))]
    answer = bob.upload(path(project), files, label="roses").json()
    assert answer["labeled_count"] == 2
    labels = dict(Annotation.objects.values_list("image__name", "label__name"))
    assert labels == {"a.png": "roses", "b.png": "roses", "picture-0.png": "label-0"}


def test_the_first_folder_of_the_name_is_the_label(bob: ApiClient) -> None:
    project = make_project(labels=0)
    files = [
        ("roses/red/a.png", picture_bytes(1)),
        ("tulips\\b.png", picture_bytes(2)),
        ("c.png", picture_bytes(3)),
        (f"{'x' * 65}/d.png", picture_bytes(4)),
    ]
    answer = upload_named(bob, project, *files, folders="yes").json()
    assert [item["name"] for item in answer["items"]] == ["a.png", "b.png", "c.png", "d.png"]
    assert [item["status"] for item in answer["items"]] == ["stored"] * 4
    assert "is not valid" in answer["items"][3]["reason"] and answer["labeled_count"] == 2
    labels = dict(Annotation.objects.values_list("image__name", "label__name"))
    assert labels == {"a.png": "roses", "b.png": "tulips"}


def test_folders_are_no_labels_unless_asked_for(bob: ApiClient) -> None:
    project = make_project(labels=0)
    assert upload_named(bob, project, ("roses/a.png", picture_bytes(1))).json()["labeled_count"] == 0
    assert not project.labels.exists() and project.images.get().name == "a.png"


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"label": "a/b"}, "label"), ({"label": ["a", "b"]}, "label"), ({"folders": "perhaps"}, "folders")],
)
def test_wrong_fields_of_an_upload_are_refused_before_anything_is_stored(
    bob: ApiClient, fields: dict[str, Any], field: str
) -> None:
    project = make_project(labels=0)
    answer = bob.upload(path(project), [picture("a.png")], **fields)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field
    assert not project.images.exists()


def test_an_upload_has_1_to_100_files(bob: ApiClient) -> None:
    project = make_project(labels=0)
    for files in ([], [SimpleUploadedFile(f"{n}.png", b"x") for n in range(101)]):
        answer = bob.upload(path(project), files)
        assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "files"
    assert bob.post(path(project), {"files": []}).json()["errors"][0]["field"] == "files"


def test_an_upload_with_a_key_is_made_once(bob: ApiClient) -> None:
    project = make_project(labels=0)

    def send() -> Any:
        return bob.client.post(
            ROOT + path(project),
            {"files": [picture("a.png")]},
            headers={"Authorization": f"Bearer {bob.token}", "Idempotency-Key": "k"},
        )

    assert send().json() == send().json() and send().json()["items"][0]["status"] == "stored"


@pytest.mark.django_db(transaction=True)
def test_two_uploads_of_the_same_file_at_once_give_one_image() -> None:
    project = make_project(labels=0)
    clients = [ApiClient(make_user(name)) for name in ("alice", "bob")]
    answers: list[Any] = []
    barrier = threading.Barrier(2)

    def send(client: ApiClient) -> None:
        barrier.wait()
        try:
            answers.append(client.upload(path(project), [picture("a.png", 77)], label="roses").json())
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    items = [answer["items"][0] for answer in answers]
    assert {item["image_id"] for item in items} == {project.images.get().pk}
    assert sorted(item["status"] for item in items) == ["duplicate", "stored"]
    assert Annotation.objects.count() == 1


def test_known_files_are_those_of_living_images(bob: ApiClient) -> None:
    project = make_project(labels=1, images=2)
    other = make_project("other", labels=0)
    binned, living = project.images.all()
    actions.delete_images(project, [binned.pk], None)
    elsewhere = make_image(other, 9)
    asked = [binned.sha256, living.sha256, elsewhere.sha256, "0" * 64]
    answer = bob.post(path(project, "/known"), {"sha256": asked})
    assert answer.json() == {"known": {living.sha256: living.pk}}
    for wrong in (["xyz"], ["A" * 64], ["0" * 64] * 1001):
        refused = bob.post(path(project, "/known"), {"sha256": wrong})
        assert refused.status_code == 422 and refused.json()["errors"][0]["field"].startswith("sha256")


# --- List ---


def listed(client: ApiClient, project: Project, query: str = "") -> list[str]:
    answer = client.get(path(project, f"?{query}"))
    assert answer.status_code == 200, answer.content
    return [item["name"] for item in answer.json()["items"]]


def test_an_image_is_listed_with_its_labels_and_suggestion(bob: ApiClient) -> None:
    project = make_project(labels=2, images=1, unlabeled=1)
    label = project.labels.first()
    Image.objects.filter(is_labeled=False).update(suggestion=label, confidence=0.75)
    Image.objects.filter(name="picture-1.png").update(suspected_label=label, suspected_confidence=0.5)
    answer = bob.get(path(project)).json()
    suggested, suspected, labeled = answer["items"]
    assert answer["next"] is None
    assert suggested["suggestion"] == {"label_id": label.pk, "label": "label-0", "confidence": 0.75}
    assert (suggested["labels"], suggested["suspected"]) == ([], None)
    assert suspected["suspected"]["label"] == "label-0" and suspected["labels"] == ["label-1"]
    assert labeled["labels"] == ["label-0"] and (labeled["width"], labeled["height"]) == (32, 24)
    assert labeled["sha256"] == hashlib.sha256(picture_bytes(0)).hexdigest()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("tab=unlabeled", "e d"),
        ("tab=labeled", "c b a"),
        ("tab=suggested", "d e"),  # the most confident first
        ("tab=suggested&sort=uncertain", "e d"),
        ("tab=suggested&above=0.8", "d"),
        ("tab=suggested&below=0", ""),
        ("tab=bin", "f"),
        ("q=B", "b"),
        ("sort=oldest", "a b c d e"),
        ("sort=name", "a b c d e"),
        ("split=EVAL", "a"),
        ("split=none", "e d c b"),
        ("size=tiny", "e d c b"),
        ("check=dark", "b"),
        ("mine=true", ""),
        ("since=2999-12-31", ""),
        ("metadata=person:anna", "c"),
    ],
)
def test_the_filters_and_sorts_are_those_of_label_data(bob: ApiClient, query: str, names: str) -> None:
    project = make_project(labels=1, images=3, unlabeled=3)
    for image, name in zip(project.images.order_by("pk"), "abcdef", strict=True):
        Image.objects.filter(pk=image.pk).update(name=name)
    images = {image.name: image for image in project.images.all()}
    label = project.labels.get()
    Image.objects.filter(name="d").update(suggestion=label, confidence=0.9)
    Image.objects.filter(name="e").update(suggestion=label, confidence=0.7)
    Image.objects.filter(name="a").update(split="EVAL", width=640, height=480)
    Image.objects.filter(name="b").update(brightness=1.0)
    metadata.write_values(project, {images["c"].pk: {"person": "anna"}})
    actions.delete_images(project, [images["f"].pk], None)
    assert listed(bob, project, query) == names.split()


def test_labels_and_people_filter_by_their_ids(bob: ApiClient) -> None:
    project = make_project(labels=2, images=1)
    first, second = project.labels.all()
    actions.apply(project, [project.images.first().pk], add=[first], by=make_user("bob"))
    assert listed(bob, project, f"label={second.pk}") == []
    assert listed(bob, project, f"notlabel={second.pk}") == ["picture-1.png", "picture-0.png"]
    assert listed(bob, project, f"by={make_user('bob').pk}") == ["picture-1.png"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("tab=none", "tab"),
        ("label=x", "label"),
        ("label=0", "label"),
        ("split=train", "split"),
        ("above=2", "above"),
        ("since=yesterday", "since"),
        ("since=0001-01-01", "since"),
        ("sort=colour", "sort"),
        ("sort=similar", "sort"),
        ("check=ugly", "check"),
        ("metadata=person", "metadata"),
        (f"q={'x' * (MAX_SEARCH_LENGTH + 1)}", "q"),
        ("lable=3", "lable"),
        ("limit=1001", "limit"),
        ("cursor=WyJuYW1lIiwgIngiXQ", "cursor"),  # of another sort
        ("cursor=W10", "cursor"),
    ],
)
def test_a_wrong_filter_is_refused_and_not_ignored(bob: ApiClient, query: str, field: str) -> None:
    answer = bob.get(path(make_project(), f"?{query}"))
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("sort", ["newest", "oldest", "name", "confidence", "copies"])
def test_pages_have_every_image_once(bob: ApiClient, sort: str) -> None:
    project = make_project(labels=1, images=0, unlabeled=7)
    name = "漢字" * 120 + "😀" * 10  # a long name makes a long cursor
    Image.objects.update(name=name, confidence=1 / 3, duplicate_group=1, suggestion=project.labels.get())
    seen, cursor = [], ""
    while True:
        answer = bob.get(path(project, f"?sort={sort}&limit=2&cursor={cursor}"))
        assert answer.status_code == 200, answer.content
        seen += [item["id"] for item in answer.json()["items"]]
        if not (cursor := answer.json()["next"]):
            break
    ids = sorted(project.images.values_list("pk", flat=True))
    assert seen == (ids if sort in ("oldest", "name") else ids[::-1])


def test_the_sort_by_similarity_has_pages(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=5)
    images = list(project.images.order_by("pk"))
    angles = [0, 0.5, 0.1, 0.9, 0.3]
    vectors = np.array([[np.cos(a), np.sin(a)] for a in angles], np.float32)
    for image, vector, sketch in zip(images, pack(vectors), sketches(vectors), strict=True):
        Embedding.objects.create(image=image, network="tiny", vector=vector, sketch=sketch)
    seen, cursor = [], ""
    while True:
        query = f"?sort=similar&like={images[0].pk}&limit=2&cursor={cursor}"
        body = bob.get(path(project, query)).json()
        seen += [item["id"] for item in body["items"]]
        if not (cursor := body["next"]):
            break
    assert seen == [images[n].pk for n in (0, 2, 4, 1, 3)]


def test_a_page_costs_a_constant_number_of_queries(bob: ApiClient) -> None:
    project = make_project(labels=3, images=2)
    Image.objects.update(uploaded_by=make_user("alice"))
    bob.get(path(project))  # notes that the token is used
    counted = []
    for limit in (2, 6):
        with CaptureQueriesContext(connection) as queries:
            assert len(bob.get(path(project, f"?limit={limit}")).json()["items"]) == limit
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 7


@pytest.mark.parametrize("query", ["", "tab=labeled", "tab=unlabeled", "sort=oldest", "sort=name"])
def test_a_deep_page_reads_an_index_and_sorts_nothing(bob: ApiClient, query: str) -> None:
    project = make_project(labels=1, images=3, unlabeled=3)
    cursor = bob.get(path(project, f"?{query}&limit=1")).json()["next"]
    with CaptureQueriesContext(connection) as queries:
        bob.get(path(project, f"?{query}&limit=1&cursor={cursor}"))
    [page] = [each["sql"] for each in queries if '"projects_image"."sha256"' in each["sql"]]
    assert "OFFSET" not in page
    if connection.vendor == "sqlite":
        with connection.cursor() as database:
            database.execute(f"EXPLAIN QUERY PLAN {page}")
            plan = " ".join(str(row) for row in database.fetchall())
        assert "USING INDEX grid" in plan and "TEMP B-TREE" not in plan, plan


# --- One image ---


def test_one_image_has_its_annotations_and_metadata(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=1)
    image = project.images.get()
    actions.apply(project, [image.pk], add=["roses"], by=make_user("bob"))
    metadata.write_values(project, {image.pk: {"person": "anna"}})
    body = bob.get(path(project, f"/{image.pk}")).json()
    [annotation] = body["annotations"]
    assert (annotation["label"], annotation["by"], annotation["source"]) == ("roses", "bob", "human")
    assert body["metadata"] == {"person": "anna"} and body["labels"] == ["roses"]
    assert bob.get(path(make_project("other"), f"/{image.pk}")).status_code == 404
    assert bob.get(path(project, f"/{image.pk}?fields=id,labels")).json() == {
        "id": image.pk,
        "labels": ["roses"],
    }


def test_the_files_of_an_image_come_as_on_the_page(bob: ApiClient) -> None:
    project = make_project(labels=0)
    content = picture_bytes(5, (40, 30), "TIFF")
    uploaded = bob.upload(path(project), [SimpleUploadedFile("scan.tif", content)]).json()
    pk = uploaded["items"][0]["image_id"]

    def file(rest: str) -> tuple[str, bytes]:
        answer = bob.get(path(project, f"/{pk}/{rest}"))
        assert answer.status_code == 200 and "immutable" in answer["Cache-Control"]
        return answer["Content-Type"], b"".join(answer) if answer.streaming else answer.content

    assert file("file")[0] == "image/jpeg"  # as browsers show it
    assert file("file?original=true") == ("image/tiff", content)
    assert file("thumbnail")[0] == "image/webp"
    for rest in ("file", "thumbnail", "history", ""):
        assert bob.get(path(project, f"/999999/{rest}".rstrip("/"))).status_code == 404


def test_files_that_are_gone_are_404(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=1)
    Image.objects.update(sha256="f" * 64)
    for rest in ("file", "file?original=true", "thumbnail"):
        assert bob.get(path(project, f"/{project.images.get().pk}/{rest}")).status_code == 404


def test_the_history_of_an_image_names_labels_before_and_after(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=1)
    image = project.images.get()
    for name in ("roses", "tulips"):
        actions.apply(project, [image.pk], add=[name], by=make_user("bob"))
    rows = bob.get(path(project, f"/{image.pk}/history")).json()["items"]
    changes = [(row["by"], row["before"], row["after"]) for row in rows]
    assert changes == [("bob", ["roses"], ["tulips"]), ("bob", [], ["roses"])]


def test_numbers_beyond_the_database_are_404(bob: ApiClient) -> None:
    project = make_project()
    for kind in ("images", "labels"):
        assert bob.get(f"/projects/{project.pk}/{kind}/{10**30}").status_code == 404
    alice = ApiClient(make_user("alice"))
    assert alice.delete(f"/projects/{project.pk}/assignments/{10**30}").status_code == 404


# --- The bin ---


def test_images_are_deleted_and_restored_in_bulk(bob: ApiClient) -> None:
    project = make_project(labels=1, images=3)
    first, second, third = project.images.order_by("pk").values_list("pk", flat=True)
    deleted = bob.post(path(project, "/delete"), {"image_ids": [first, second]}).json()
    assert deleted == {"event_id": LabelEvent.objects.get().pk, "changed_count": 2}
    assert [image.pk for image in project.images.alive()] == [third]
    again = bob.post(path(project, "/delete"), {"image_ids": [first, second]}).json()
    assert again == {"event_id": None, "changed_count": 0}
    assert bob.delete(path(project, f"/{third}")).status_code == 204
    restored = bob.post(path(project, "/restore"), {"filter": {"tab": "bin"}}).json()
    assert restored["changed_count"] == 3 and project.images.labeled().count() == 3


def test_a_large_action_counts_all_its_images(bob: ApiClient) -> None:
    project = make_project(labels=0, unlabeled=201)
    assert bob.post(path(project, "/delete"), {"filter": {}}).json()["changed_count"] == 201
    assert not project.images.alive().exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "image_ids"),
        ({"image_ids": [1], "filter": {}}, "image_ids"),
        ({"image_ids": []}, "image_ids"),
        ({"image_ids": [0]}, "image_ids.0"),
        ({"image_ids": list(range(1, 5002))}, "image_ids"),
        ({"filter": {"lable": 3}}, "filter.lable"),
        ({"filter": {"tab": "none"}}, "tab"),
        ({"filter": {}, "max_count": 5}, "filter"),
    ],
)
def test_a_wrong_selection_deletes_nothing(bob: ApiClient, body: dict[str, Any], field: str) -> None:
    project = make_project(labels=2, images=3)
    answer = bob.post(path(project, "/delete"), body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field, answer.json()
    assert project.images.alive().count() == 6


def test_images_of_another_project_are_left(bob: ApiClient) -> None:
    project, other = make_project(labels=0), make_project("other", labels=1, images=1)
    answer = bob.post(path(project, "/delete"), {"image_ids": [other.images.get().pk]}).json()
    assert answer == {"event_id": None, "changed_count": 0} and other.images.alive().count() == 1
    assert Label.objects.get(project=other).annotations.count() == 1

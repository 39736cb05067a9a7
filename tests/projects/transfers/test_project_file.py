"""A project goes out as one file and comes in again as another project, with everything that it had."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from projects.backup import rows
from projects.backup.archive import ArchiveReader, ArchiveWriter, BadArchive
from projects.datasets import publish
from projects.labels import actions, metadata
from projects.labels.history import History
from projects.models import (
    AccessToken,
    Annotation,
    AuditEvent,
    Image,
    Label,
    LabelEvent,
    Membership,
    MetadataValue,
    Project,
    ServiceAccount,
    Transfer,
)
from projects.transfers import import_job
from projects.transfers.project_file import write
from projects.transfers.project_file.read import NOT_EMPTY, ProjectImport
from projects.transfers.project_file.tables import parts
from tests.factories import make_project, make_team, make_user, make_version
from tests.training.bundles import colour_picture, give_bundle
from training.models import EvaluatedImage, Metric, TrainingVersion

pytestmark = [pytest.mark.django_db(transaction=True)]

MEMBERS = ("alice", "bob", "vera")  # others are not known by their accounts


@pytest.fixture
def project() -> Iterator[Project]:
    """Labeled by Bob and a person who is not here later, published, trained, evaluated."""
    for folder in (settings.FILES_DIR, Path(settings.WORK_DIR)):
        shutil.rmtree(folder, ignore_errors=True)
    project = make_project(images=5, unlabeled=2, with_files=True)
    images = list(Image.objects.filter(project=project).order_by("pk"))
    actions.apply(project, [images[-1].pk], add=["label-0"], by=make_user("bob"))
    actions.apply(project, [images[-2].pk], add=["label-1"], by=make_user("yesterday"))
    metadata.write_values(project, {images[0].pk: {"camera": "left"}})
    version = make_version(project, status="Completed", accuracy=0.75)
    publish.publish(version.dataset_version)
    give_bundle(version)
    for image in images[:2]:
        EvaluatedImage.objects.create(
            training_version=version,
            image=image,
            truth=["label-0"],
            predicted=["label-0"],
            scores=[0.9, 0.1],
            confidence=0.9,
            is_correct=True,
        )
    User.objects.filter(username="yesterday").update(username="elsewhere")
    yield project
    shutil.rmtree(settings.FILES_DIR, ignore_errors=True)


def written(project: Project) -> bytes:
    file = io.BytesIO()
    write.write(project, file)
    return file.getvalue()


def empty_project(name: str = "copy") -> Project:
    return Project.objects.create(team=make_team(), name=name)


def contents(project: Project) -> dict[str, list[Any]]:
    """What a person sees of a project, without keys."""
    annotations = Annotation.objects.filter(image__project=project).order_by("image__sha256", "label__name")
    images = Image.objects.filter(project=project).order_by("sha256")
    return {
        "labels": list(project.labels.values_list("name", "colour", "hot_key", "position", "created_at")),
        "images": list(
            images.values_list("sha256", "name", "split", "is_labeled", "uploaded_at", "size_bytes")
        ),
        "annotations": [
            (sha256, label, name if name in MEMBERS else None, at, source)
            for sha256, label, name, at, source in annotations.values_list(
                "image__sha256", "label__name", "by__username", "at", "source"
            )
        ],
        "metadata": list(
            MetadataValue.objects.filter(image__project=project).values_list("image__sha256", "value")
        ),
        "metrics": list(
            Metric.objects.filter(training_version__project=project).values_list("name", "label", "value")
        ),
        "evaluated": list(
            EvaluatedImage.objects.filter(training_version__project=project)
            .order_by("image__sha256")
            .values_list("image__sha256", "truth", "predicted", "scores", "is_correct")
        ),
        "versions": list(
            project.training_versions.values_list("number", "status", "model_name", "finished_at")
        ),
    }


def test_a_project_that_went_out_and_in_has_everything(project: Project) -> None:
    copy = empty_project()
    ProjectImport(copy, io.BytesIO(written(project))).run()
    assert contents(copy) == contents(project)
    (old,), (new,) = project.dataset_versions.all(), copy.dataset_versions.all()
    of_old, of_new = publish.read_entries(old), publish.read_entries(new)
    assert [(entry.usage, entry.labels) for entry in of_new] == [(e.usage, e.labels) for e in of_old]
    shas = dict(Image.objects.filter(project=copy).values_list("pk", "sha256"))
    assert all(shas[entry.image_id] in entry.source for entry in of_new)
    assert all(default_storage.exists(entry.source) for entry in of_new)
    version = TrainingVersion.objects.get(project=copy)
    assert default_storage.exists(f"{version.folder}/bundle/model.onnx")
    assert version.dataset_version == new


def test_no_account_and_no_token_is_in_a_file() -> None:
    tables = {table.model for part in parts() for table in part.tables}
    assert Image in tables and not tables & {AccessToken, ServiceAccount, Membership, User}


def test_the_history_keeps_who_did_what_and_cannot_be_undone(project: Project) -> None:
    copy = empty_project()
    content = written(project)
    User.objects.filter(username="elsewhere").delete()
    ProjectImport(copy, io.BytesIO(content)).run()
    event, other = LabelEvent.objects.filter(project=copy).order_by("-pk")[:2]
    assert (event.by, event.details["by_name"]) == (None, "elsewhere")
    assert other.by == make_user("bob")
    assert [line.text for line in History(copy, {}).lines] == [
        line.text for line in History(project, {}).lines
    ]
    with pytest.raises(actions.CannotUndo, match="came from a file"):
        actions.undo(event, make_user("alice"))


def test_a_person_of_another_team_is_not_taken_for_one_of_the_file(project: Project) -> None:
    image = Image.objects.filter(project=project).first()
    Annotation.objects.filter(image=image).update(by=make_user("mallory"))
    copy = empty_project()
    ProjectImport(copy, io.BytesIO(written(project))).run()
    assert Annotation.objects.get(image__project=copy, image__sha256=image.sha256).by is None


def test_a_picture_that_cannot_be_read_is_left_out_with_its_labels(project: Project) -> None:
    image = Image.objects.filter(project=project).order_by("pk").first()
    default_storage.delete(image.file_name)
    done = ProjectImport(empty_project(), io.BytesIO(written(project)))
    done.run()
    assert [name for name, _ in done.refused] == [image.name] and "is missing" in done.refused[0][1]
    assert Image.objects.filter(project=done.project).count() == 11
    assert not Annotation.objects.filter(image__project=done.project, image__sha256=image.sha256).exists()


@pytest.mark.slow
def test_a_model_knows_the_images_that_it_was_trained_on_by_their_new_ids(project: Project) -> None:
    import torch

    from training.engine.bundle.writer import hash_ids

    def seen(version: TrainingVersion) -> list[int]:
        with default_storage.open(f"{version.folder}/bundle/weights.pt") as file:
            return sorted(torch.load(file, weights_only=True)["trained_on"].tolist())

    version = TrainingVersion.objects.get()
    trained = list(Image.objects.filter(project=project).order_by("pk").values_list("pk", "sha256"))[:4]
    out = io.BytesIO()
    hashes = hash_ids([*(str(pk) for pk, _ in trained), "999999"])  # an image that is gone
    torch.save({"trained_on": torch.from_numpy(hashes), "members": []}, out)
    out.seek(0)
    default_storage.save(f"{version.folder}/bundle/weights.pt", out)
    copy = empty_project()
    ProjectImport(copy, io.BytesIO(written(project))).run()
    images = Image.objects.filter(project=copy, sha256__in=[sha256 for _, sha256 in trained])
    wanted = hash_ids(str(pk) for pk in images.values_list("pk", flat=True))
    assert seen(TrainingVersion.objects.get(project=copy)) == sorted(wanted.tolist())


# --- hostile files ---


def rewritten(
    content: bytes, change_row: Callable[[str, rows.Row], None] = lambda label, row: None, **head: Any
) -> bytes:
    """The file with its sha256 right, and changed rows."""
    archive, out = ArchiveReader(io.BytesIO(content)), io.BytesIO()
    fresh = ArchiveWriter(out, archive.head | head)
    for member in archive.members():
        if label := rows.table_of(member):
            changed = list(rows.read_chunk(archive, member))
            for row in changed:
                change_row(label, row)
            lines = [list(changed[0]), *(list(row.values()) for row in changed)]
            fresh.add_bytes(member.name, gzipped(lines))
        elif member.name.startswith(("files/", "people")):
            fresh.add_bytes(member.name, archive.open(member).read())
    fresh.end(archive.check())
    return out.getvalue()


def gzipped(lines: list[Any]) -> bytes:
    import gzip

    return gzip.compress("\n".join(map(json.dumps, lines)).encode())


def changed(label: str, column: str, value: Any) -> Callable[[str, rows.Row], None]:
    def change(table: str, row: rows.Row) -> None:
        if table == label:
            row[column] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (changed("projects.annotation", "image_id", 999_999), "refers to no row of the file"),
        (changed("projects.annotation", "label_id", "1 OR 1"), "label_id .* cannot be read"),
        (changed("projects.label", "name", "../../x"), "name of a row of projects.label is not valid"),
        (changed("projects.label", "name", "twice"), "rows of projects.label cannot be stored"),
        (changed("projects.label", "project_id", 1), "has other columns|refers to no row"),
        (changed("projects.image", "sha256", "../../../etc"), "an image has no sha256"),
        (changed("projects.image", "split", "OTHER"), "split of a row of projects.image is not valid"),
        (changed("projects.image", "name", "a\0b"), "name of a row of projects.image is not valid"),
        (changed("projects.datasetversion", "name", "../evil"), "projects.datasetversion is not valid"),
        (changed("projects.labelevent", "changes", {}), "changes of a row of projects.labelevent"),
        (changed("training.trainingversion", "status", "Running"), "is not Completed"),
        (changed("training.metric", "value", 7.5), "training.metric cannot be stored"),
        (changed("projects.image", "transfer_id", 1), "has other columns"),
    ],
)
def test_a_row_that_is_not_what_it_should_be_is_refused_and_nothing_stays(
    project: Project, change: Callable[[str, rows.Row], None], sentence: str
) -> None:
    def and_again(label: str, row: rows.Row) -> None:
        if row.get("project_id") == project.pk and sentence.startswith("has other columns|"):
            row["project_id"] = project.pk + 1
        else:
            change(label, row)

    copy = empty_project()
    with pytest.raises(BadArchive, match=sentence):
        ProjectImport(copy, io.BytesIO(rewritten(written(project), and_again))).run()
    models: list[type[Model]] = [Label, Image, LabelEvent, TrainingVersion]
    assert [model._base_manager.filter(project=copy).count() for model in models] == [0, 0, 0, 0]
    assert contents(project)["images"], "the other project stays"


def test_a_row_that_unpacks_to_more_than_it_may_is_refused(project: Project, monkeypatch: Any) -> None:
    monkeypatch.setattr("projects.transfers.project_file.read.MAX_CHUNK_BYTES", 1000)
    with pytest.raises(BadArchive, match="holds more than it may"):
        ProjectImport(empty_project(), io.BytesIO(written(project))).run()


@pytest.mark.parametrize(
    ("head", "sentence"),
    [({"format": "exeml backup"}, "not a project file"), ({"format_version": 2}, "by a newer version")],
)
def test_another_format_is_refused(project: Project, head: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArchive, match=sentence):
        ProjectImport(empty_project(), io.BytesIO(rewritten(written(project), **head))).run()


# --- pages ---


def send(client: Client, project: Project, content: bytes) -> Any:
    file = io.BytesIO(content)
    file.name = "flowers.exeml.tar"
    return client.post(reverse("create_import", args=[project.pk]), {"uploads": [file]})


def test_a_manager_downloads_a_project_and_imports_it_into_a_new_one(project: Project, alice: Client) -> None:
    answer = alice.get(reverse("download_project", args=[project.pk]))
    content = b"".join(answer)
    assert answer["Content-Disposition"] == 'attachment; filename="flowers.exeml.tar"'
    form = {"name": "again", "is_multi_label": "no", "from_file": "1"}
    created = alice.post(reverse("create_project"), form)
    copy = Project.objects.get(name="again")
    assert created["Location"] == reverse("transfers", args=[copy.pk])
    assert send(alice, copy, content).status_code == 303
    transfer = Transfer.objects.get(project=copy)
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, transfer.report["counts"]["added"]) == ("Completed", 12), transfer.problem
    assert contents(copy)["annotations"] == contents(project)["annotations"]
    events = AuditEvent.objects.filter(kind__in=["project.exported", "import.started", "project.imported"])
    assert list(events.order_by("pk").values_list("kind", "user_name", "project_name", "target")) == [
        ("project.exported", "alice", "flowers", "flowers.exeml.tar"),
        ("import.started", "alice", "again", "flowers.exeml.tar"),
        ("project.imported", "alice", "again", "flowers.exeml.tar"),
    ]
    page = alice.get(reverse("transfer", args=[copy.pk, transfer.pk])).content.decode()
    assert "12" in page and "added" in page


def test_an_import_whose_worker_died_begins_again(project: Project, alice: Client) -> None:
    copy = empty_project()
    send(alice, copy, written(project))
    Label.objects.create(project=copy, name="label-0")  # what the dead worker left
    Transfer.objects.update(report={"began": True})
    import_job.run(Transfer.objects.get().pk)
    assert Transfer.objects.get().status == "Completed", Transfer.objects.get().problem
    assert contents(copy)["labels"] == contents(project)["labels"]


def test_a_project_file_is_imported_into_an_empty_project_alone(project: Project, alice: Client) -> None:
    send(alice, project, written(project))
    transfer = Transfer.objects.get()
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, transfer.problem) == ("Failed", NOT_EMPTY)
    assert Image.objects.filter(project=project).count() == 12


def test_a_file_that_is_no_project_file_is_refused_with_a_sentence(alice: Client) -> None:
    copy = empty_project()
    send(alice, copy, colour_picture("red") * 20)
    transfer = Transfer.objects.get()
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, transfer.finished_at is not None) == ("Failed", True)
    assert transfer.problem.startswith("This file is not an archive of exeml")
    assert transfer.created_at <= timezone.now()


def test_labelers_neither_download_nor_import_a_project_file(project: Project, bob: Client) -> None:
    assert bob.get(reverse("download_project", args=[project.pk])).status_code == 403
    refused = send(bob, project, b"x")
    assert refused.status_code == 422 and "Only Managers" in refused.content.decode()
    assert not Transfer.objects.exists()

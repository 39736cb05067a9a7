"""Compares what `benchmarks.kill` saw acknowledged with the database and the storage."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from benchmarks.kill_actors import IMPORTED, LABELS, PREDICTED, Notes

ALIVE = timedelta(seconds=60)


@dataclass
class Verdict:
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def rows(self) -> dict[str, list[str]]:
        return {"lost": self.lost, "doubled": self.doubled, "stuck": self.stuck, "failed": self.failed}


def active_rows(notes: Notes) -> dict[str, list[str]]:
    """Work that has not ended, by its kind."""
    from django.db import connection

    from projects.models import Transfer
    from training.models import Batch, Service, TrainingVersion

    projects = [notes.project, notes.trained_project]
    rows = {
        "imports": Transfer.objects.active().filter(project__in=projects),
        "trainings": TrainingVersion.objects.active().filter(project__in=projects),
        "batches": Batch.objects.active().filter(service__project__in=projects),
        "services": Service.objects.filter(project__in=projects, status=Service.Status.DEPLOYING),
    }
    try:
        return {kind: [f"{row} {row.status}" for row in query] for kind, query in rows.items()}
    finally:
        connection.close()


def is_quiet(notes: Notes) -> bool:
    return not any(active_rows(notes).values())


def live_trainings(notes: Notes) -> int:
    """The trainings that a worker is working on: they may take as long as their limit says."""
    from django.utils import timezone

    from training.models import TrainingVersion

    recently = timezone.now() - ALIVE
    active = TrainingVersion.objects.active().filter(project=notes.trained_project)
    return active.filter(heartbeat_at__gt=recently).count()


def check(notes: Notes) -> Verdict:
    verdict = Verdict(lost=[f"not acknowledged: {text}" for text in notes.unacknowledged])
    verdict.stuck = [f"{kind}: {row}" for kind, rows in active_rows(notes).items() for row in rows]
    _check_images(notes, verdict)
    _check_labels(notes, verdict)
    _check_imports(notes, verdict)
    _check_trainings(notes, verdict)
    _check_batches(notes, verdict)
    _check_service(notes, verdict)
    return verdict


def _check_images(notes: Notes, verdict: Verdict) -> None:
    from django.core.files.storage import default_storage

    from projects.images.decode import ImageRefused
    from projects.images.thumbnail import thumbnail_of
    from projects.models import Image

    rows = Image.objects.alive().in_bulk(list(notes.images))
    for pk, content in notes.images.items():
        if pk not in rows:
            verdict.lost.append(f"image {pk}")
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            with default_storage.open(rows[pk].file_name) as file:
                is_same = hashlib.sha256(file.read()).hexdigest() == sha256
            thumbnail_of(rows[pk])
        except (ImageRefused, OSError) as problem:
            verdict.lost.append(f"file of image {pk}: {problem}")
        else:
            verdict.lost += [] if is_same else [f"file of image {pk} has other bytes"]
    hashes = Image.objects.filter(project=notes.project).values_list("sha256", flat=True)
    verdict.doubled += [f"image {sha256}" for sha256, count in Counter(hashes).items() if count > 1]


def _check_labels(notes: Notes, verdict: Verdict) -> None:
    from projects.models import Annotation

    labels: dict[int, list[str]] = {}
    rows = Annotation.objects.filter(image__project=notes.project)
    for pk, name in rows.values_list("image_id", "label__name"):
        labels.setdefault(pk, []).append(name)
    for pk, name in notes.labels.items():
        if labels.get(pk, []) != [name]:
            where = verdict.doubled if len(labels.get(pk, [])) > 1 else verdict.lost
            where.append(f"image {pk}: {name} acknowledged, {labels.get(pk, [])} stored")


def _check_imports(notes: Notes, verdict: Verdict) -> None:
    from projects.models import Image, Transfer

    for pk, contents in notes.imports.items():
        transfer = Transfer.objects.filter(pk=pk).first()
        if transfer is None:
            verdict.lost.append(f"import {pk}")
            continue
        if transfer.status == Transfer.Status.FAILED:
            verdict.failed.append(f"import {pk}: {transfer.problem}")
        if transfer.status != Transfer.Status.COMPLETED:
            continue
        hashes = [hashlib.sha256(content).hexdigest() for content in contents]
        images = Image.objects.alive().filter(project=notes.project, sha256__in=hashes)
        names = list(images.values_list("annotations__label__name", flat=True))
        if sorted(names) != sorted(LABELS[n % 2] for n in range(IMPORTED)):
            verdict.lost.append(f"import {pk}: {len(names)} of {IMPORTED} images have their label")
        counts = transfer.report["counts"]
        if counts.get("added", 0) + counts.get("duplicate", 0) > IMPORTED:
            verdict.doubled.append(f"import {pk} reports {counts}")


def _check_trainings(notes: Notes, verdict: Verdict) -> None:
    from training.models import Metric, Status, TrainingVersion

    versions = TrainingVersion.objects.filter(project=notes.trained_project)
    rows = {version.number: version for version in versions}
    verdict.lost += [f"training {number}" for number in notes.trainings if number and number not in rows]
    for version in rows.values():
        if version.status == Status.FAILED:
            verdict.failed.append(f"training {version.name}: {version.failure_cause}")
        metrics = Metric.objects.filter(training_version=version).values_list("label", "name")
        verdict.doubled += [f"{version.name} {key}" for key, n in Counter(metrics).items() if n > 1]


def _check_batches(notes: Notes, verdict: Verdict) -> None:
    from training.models import Batch
    from training.serving.batches import results

    batches = list(Batch.objects.filter(service__project=notes.trained_project))
    if len(batches) < notes.batches:
        verdict.lost.append(f"{notes.batches - len(batches)} batches")
    for batch in batches:
        if batch.status == Batch.Status.FAILED:
            verdict.failed.append(f"batch {batch.pk}: {batch.problem}")
        if batch.status != Batch.Status.COMPLETED:
            continue
        sources = [line["source"] for line in results.read_results(batch)]
        if len(set(sources)) < PREDICTED:
            verdict.lost.append(f"batch {batch.pk}: {len(set(sources))} of {PREDICTED} answers")
        if len(sources) > len(set(sources)):
            verdict.doubled.append(f"batch {batch.pk}: {len(sources)} lines of {len(set(sources))} images")


def _check_service(notes: Notes, verdict: Verdict) -> None:
    from training.models import Service

    if notes.service_runs is None:
        return
    service = Service.objects.get(pk=notes.service)
    if service.status == Service.Status.FAILED:
        verdict.failed.append(f"service: {service.failure_cause}")
    elif (service.status == Service.Status.RUNNING) is not notes.service_runs:
        verdict.lost.append(f"service: {service.status}, last acknowledged: runs={notes.service_runs}")

"""The speed of embeddings and suggestions, beside the physical limit of the machine, in one run.

    python -m benchmarks.suggestions [--images 20000] [--photos FOLDER]

embed      the labeling worker's job on stored images (reading, network, storing), against the engine's own
           `features.extract_features` of the same network on pixels in memory
refresh    the job that suggests a label for every unlabeled image, with 600 labeled ones and 30 labels: cold
           (all vectors are read) and warm (as after every action); beside the bare products of its matrices
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.labeling import set_up

PHOTOS, LABELS, LABELED, WIDTH = 1024, 30, 600, 1280


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--photos", type=Path, help="real photos to embed; noise at photo size without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-suggestions-") as folder:
        set_up(folder, "")
        embed(options.photos)
        refresh(options.images)


def timed(work: Any, *arguments: Any) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def embed(photos: Path | None) -> None:
    from projects.images import upload
    from projects.models import Project, Team
    from training.assist import embed_images
    from training.engine.backbones import classifier, features
    from training.engine.backbones.classifier import Head, Member
    from training.engine.backbones.registry import NETWORKS

    project = Project.objects.create(team=Team.objects.create(name="Embed"), name="embed")
    upload.add_images(project, pictures(photos), None)
    count = project.images.count()
    embed_images._embedder()  # loading is once a day
    job_s = timed(embed_images.embed, project.pk)
    import torch

    member = Member(
        NETWORKS[0],
        NETWORKS[0].resolution,
        classifier.pretrained_state(NETWORKS[0]),
        Head(torch.zeros(1, WIDTH), torch.zeros(1)),
    )
    side = member.resolution
    pixels = np.random.default_rng(0).integers(0, 256, (256, side, side, 3), dtype=np.uint8)
    marks: list[float] = []
    threads = os.cpu_count() or 1
    rows = list(range(256)) * max(1, count // 256)
    features.extract_features(
        member, pixels, threads, "cpu", lambda _: marks.append(time.perf_counter()), rows
    )
    engine = (len(marks) - 64) / (marks[-1] - marks[63])  # the first ones wait for the network to load
    print(f"embed: {count / job_s:.0f} images/s; engine {engine:.0f}; ratio {count / job_s / engine:.2f}")


def pictures(photos: Path | None) -> list[io.BytesIO]:
    if photos:
        files = sorted(one for one in photos.rglob("*") if one.suffix.lower() in (".jpg", ".jpeg", ".png"))
        return [named(one.read_bytes(), one.name) for one in files[:PHOTOS]]
    from PIL import Image

    random, found = np.random.default_rng(1), []
    for number in range(PHOTOS):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        found.append(named(file.getvalue(), f"{number}.jpg"))
    return found


def named(content: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name  # type: ignore[attr-defined]
    return file


def refresh(images: int) -> None:
    from training.assist import suggest_labels

    project = make_project_with_embeddings(images)
    cold = timed(suggest_labels.update_suggestions, project.pk)
    again = timed(suggest_labels.update_suggestions, project.pk)
    relabel(project)
    warm = timed(suggest_labels.update_suggestions, project.pk)
    floor = bare(images)
    times = f"cold {cold:.2f} s, after an action {warm:.2f} s, nothing new {again:.2f} s"
    print(f"refresh of {images:,} unlabeled: {times}; bare products {floor:.2f} s, ratio {warm / floor:.0f}")


def bare(images: int) -> float:
    """Covariance of the labeled rows, and scores of the others."""
    random = np.random.default_rng(0)
    some = random.standard_normal((LABELED, WIDTH), dtype=np.float32)
    rest = random.standard_normal((images, WIDTH), dtype=np.float32)
    weight = random.standard_normal((WIDTH, LABELS), dtype=np.float32)
    some.T @ some
    return timed(lambda: (some.T @ some, rest @ weight))


def make_project_with_embeddings(images: int) -> Any:
    from django.utils import timezone

    from projects.images import similarity
    from projects.labels import actions
    from projects.models import Annotation, Embedding, Image, Project, Team
    from training.assist.embed_images import network_name

    project = Project.objects.create(team=Team.objects.create(name="Refresh"), name="refresh")
    labels = actions.ensure_labels(project, [f"label {n}" for n in range(LABELS)])
    total = images + LABELED
    rows = Image.objects.bulk_create(
        Image(
            project=project,
            sha256=f"{n:064x}",
            name=f"{n}.jpg",
            format="JPEG",
            width=9,
            height=9,
            size_bytes=1,
            is_labeled=n < LABELED,
        )
        for n in range(total)
    )
    random = np.random.default_rng(2)
    mine = np.arange(total) % LABELS
    vectors = random.standard_normal((LABELS, WIDTH))[mine] + 2.5 * random.standard_normal((total, WIDTH))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    stored = zip(rows, similarity.pack(vectors), similarity.sketches(vectors), strict=True)
    Embedding.objects.bulk_create(
        [Embedding(image=row, network=network_name(), vector=v, sketch=s) for row, v, s in stored],
        batch_size=2000,
    )
    now = timezone.now()
    Annotation.objects.bulk_create(
        Annotation(image=row, label=labels[n % LABELS], at=now) for n, row in enumerate(rows[:LABELED])
    )
    return project


def relabel(project: Any) -> None:
    """An action of a user: twenty more labels."""
    from projects.labels import actions

    waiting = project.images.unlabeled().order_by("pk").values_list("pk", flat=True)[:20]
    actions.apply(project, list(waiting), add=["label 3"], by=None)


if __name__ == "__main__":
    sys.exit(main())

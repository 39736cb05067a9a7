"""Server time and queries of the pages of a version with many evaluated images and labels.

    python -m benchmarks.evaluation_pages [--images 20000] [--labels 136] [--rounds 15]

Rows are made in an SQLite database of their own, as a training records them; the pages are asked for through
Django's whole stack of middleware, without a network. One JSON object: p50 and p95 in ms, and queries.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=136)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        import django

        django.setup()
        from django.conf import settings

        settings.DATABASES["default"]["NAME"] = str(Path(folder) / "pages.sqlite3")
        settings.ALLOWED_HOSTS = ["*"]
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        number = make_version(asked.images, asked.labels)
        found = measure(number, asked.rounds)
        print(json.dumps({"images": asked.images, "labels": asked.labels, "pages": found}))


def make_version(count: int, labels: int) -> int:
    """A Completed version that is right four times in five; its project's id."""
    from django.utils import timezone

    from projects.models import DatasetVersion, Label
    from tests.factories import make_project
    from tests.factories import make_version as make_row
    from training.engine.evaluation.evaluate import SamplePrediction
    from training.jobs import record
    from training.models import Status

    project = make_project("many", labels=0, images=0)
    names = [f"label-{number:03d}" for number in range(labels)]
    Label.objects.bulk_create(
        Label(project=project, name=name, position=place) for place, name in enumerate(names)
    )
    make_images(project, count)
    version = make_row(project, 1, Status.COMPLETED)
    DatasetVersion.objects.filter(pk=version.dataset_version_id).update(
        published_at=timezone.now(), training_ratio=Decimal("0.8"), counts={}
    )
    dice, found = np.random.default_rng(0), []
    for pk in project.images.order_by("pk").values_list("pk", flat=True).iterator():
        true = int(dice.integers(labels))
        best = true if dice.random() < 0.8 else int(dice.integers(labels))
        scores = dice.random(labels) * 0.5 / labels
        scores[best] += 0.4 + dice.random() / 2
        found.append(
            SamplePrediction(str(pk), (names[true],), (names[best],), tuple(scores.tolist()), True, 0.5)
        )
    record.record(version, names, found, [])
    return int(project.pk)


def make_images(project: Any, count: int) -> None:
    """Rows alone, on the validation side."""
    from projects.models import Image

    Image.objects.bulk_create(
        (
            Image(
                project=project,
                sha256=f"{number:064x}",
                name=f"{number}.jpg",
                format="JPEG",
                width=64,
                height=64,
                size_bytes=1000,
                split="EVAL",
            )
            for number in range(count)
        ),
        batch_size=1000,
    )


def measure(project: int, rounds: int) -> dict[str, object]:
    from django.db import connection
    from django.test import Client
    from django.urls import reverse

    from tests.factories import make_user
    from training.models import EvaluatedImage

    client = Client()
    client.force_login(make_user("vera"))
    one = EvaluatedImage.objects.filter(is_correct=False).first()
    assert one is not None
    pages = {
        "overview": reverse("training_version", args=[project, 1]),
        "images": reverse("evaluated_images", args=[project, 1]),
        "images of a cell": reverse("evaluated_images", args=[project, 1])
        + f"?true={one.true_names}&predicted={one.predicted_names}",
        "one image": reverse("evaluated_image", args=[project, 1, one.pk]),
        "confusion": reverse("confusion_matrix", args=[project, 1]),
        "thresholds": reverse("thresholds", args=[project, 1]),
    }
    found: dict[str, object] = {}
    for name, url in pages.items():
        counted = list[str]()

        def count(execute: Any, sql: str, *rest: Any, counted: list[str] = counted) -> Any:
            counted.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(count):
            assert client.get(url).status_code == 200
        times = []
        for _ in range(rounds):
            began = time.monotonic()
            client.get(url)
            times.append(1e3 * (time.monotonic() - began))
        low, high = np.percentile(times, [50, 95])
        found[name] = {"p50": round(float(low)), "p95": round(float(high)), "queries": len(counted)}
    return found


if __name__ == "__main__":
    main()

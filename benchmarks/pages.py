"""Server time and number of queries of the Label Data page, for a project of many images.

    python -m benchmarks.pages --images 10000

Everything lies in a temporary EXEML_DATA. Times are those of Django's test client: middleware, view,
template and database, without the network.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LABELS = 10
LABELED_SHARE = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000, help="images of the project (default 10000)")
    parser.add_argument("--rounds", type=int, default=30, help="requests of each kind (default 30)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-pages-") as folder:
        _set_up(folder)
        _report(measure(options.images, options.rounds), options.images, options.rounds)


def _set_up(folder: str) -> None:
    os.environ.update(EXEML_DATA=folder, DATABASE_URL="", STORAGE_URL="")
    os.environ["DJANGO_SETTINGS_MODULE"] = "exeml_site.settings"
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    Path(settings.STATIC_ROOT).mkdir()
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.ALLOWED_HOSTS = ["*"]
    call_command("migrate", verbosity=0)


def seed(images: int) -> Any:
    """A project of `images` images, half of them labeled; one tiny picture and thumbnail stands for all."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from projects import labeling
    from projects.models import Annotation, Image, Membership, Project, Role, Team

    user = User.objects.create_user("alice")
    team = Team.objects.create(name="Benchmark")
    Membership.objects.create(team=team, user=user, role=Role.MANAGER)
    project = Project.objects.create(team=team, name="benchmark", created_by=user)
    labels = labeling.ensure_labels(project, [f"label {n}" for n in range(LABELS)])
    labeled = int(images * LABELED_SHARE)
    rows = Image.objects.bulk_create(
        Image(
            project=project,
            sha256=f"{n:064x}",
            name=f"photo-{n:06d}.jpg",
            format="JPEG",
            width=640,
            height=480,
            size_bytes=100_000,
            is_labeled=n % 2 == 0 and n // 2 < labeled,
        )
        for n in range(images)
    )
    Annotation.objects.bulk_create(
        Annotation(image=image, label=labels[n % LABELS], at=timezone.now())
        for n, image in enumerate(rows)
        if image.is_labeled
    )
    _store_one_file(rows[-1])
    return project


def _store_one_file(image: Any) -> None:
    import io

    from PIL import Image as Pillow

    from projects.files import save_whole

    out = io.BytesIO()
    Pillow.new("RGB", (256, 192), "teal").save(out, "WEBP")
    save_whole(image.thumbnail_name, out.getvalue())


Kind = tuple[str, Callable[[int], Any]]


def kinds(project: Any) -> list[Kind]:
    """What is asked, by name; each is handed the number of the round."""
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    client = Client(headers={"HX-Request": "true"})
    client.force_login(User.objects.get())
    ids = list(project.images.order_by("-pk").values_list("pk", flat=True))

    def address(name: str, query: str = "") -> str:
        return f"{reverse(name, args=[project.pk])}?{query}"

    def label(count: int, round: int) -> Any:
        start = (round * 37) % max(1, len(ids) - count)
        chosen = ",".join(map(str, ids[start : start + count]))
        return client.post(
            address("label_images", "tab=all"), {"images": chosen, "add": f"label {round % LABELS}"}
        )

    middle = ids[len(ids) // 2]
    thumbnail = reverse("image_thumbnail", args=[project.pk, project.images.latest("pk").sha256])
    whole = {"HX-Request": ""}
    return [
        ("whole page", lambda _: client.get(address("label_data", "tab=all"), headers=whole)),
        ("grid, first page", lambda _: client.get(address("image_grid", "tab=all"))),
        ("grid, Unlabeled", lambda _: client.get(address("image_grid", "tab=unlabeled"))),
        ("grid, in the middle", lambda _: client.get(address("image_grid", f"tab=all&before={middle}"))),
        ("grid, 500 on a page", lambda _: client.get(address("image_grid", "tab=all&show=500"))),
        ("grid, one label", lambda _: client.get(address("image_grid", "tab=labeled&label=1"))),
        ("grid, by name", lambda _: client.get(address("image_grid", "tab=all&q=photo-00123"))),
        ("thumbnail", lambda _: list(client.get(thumbnail).streaming_content)),
        ("label 1 image", lambda round: label(1, round)),
        ("label 200 images", lambda round: label(200, round)),
        ("undo 200 images", lambda _: client.post(address("undo_labeling", "tab=all"))),
    ]


@dataclass(frozen=True)
class Timing:
    name: str
    ms: list[float]
    queries: int

    def percentile(self, share: float) -> float:
        return sorted(self.ms)[min(len(self.ms) - 1, int(len(self.ms) * share))]


def measure(images: int, rounds: int) -> list[Timing]:
    project = seed(images)
    return [_time(name, ask, rounds) for name, ask in kinds(project)]


def _time(name: str, ask: Callable[[int], Any], rounds: int) -> Timing:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:  # also warms templates and caches
        answer = ask(rounds)
    assert getattr(answer, "status_code", 200) == 200, f"{name}: {answer}"
    queries, times = len(captured), []
    for round in range(rounds):
        start = time.perf_counter()
        ask(round)
        times.append((time.perf_counter() - start) * 1000)
    return Timing(name, times, queries)


def _report(timings: list[Timing], images: int, rounds: int) -> None:
    print(f"{images:,} images, {rounds} requests each, milliseconds\n")
    print(f"{'request':<22}{'p50':>8}{'p95':>8}{'queries':>9}")
    for timing in timings:
        p50, p95 = statistics.median(timing.ms), timing.percentile(0.95)
        print(f"{timing.name:<22}{p50:>8.1f}{p95:>8.1f}{timing.queries:>9}")


if __name__ == "__main__":
    main()

"""The speed of an import, beside Pillow alone on the same images and cores, in one run.

    python -m benchmarks.importing [--photos FOLDER] [--images 2000] [--product]

pillow     open, verify, decode (JPEG at a fraction, as the product does), thumbnail, its WebP: the least
           work for thumbnails and for checking that files are complete; threads on all cores
check      open and decode at a fraction: the least work for checking that files are complete
import     the job of the imports worker on a zip archive with a folder for each label: reading the archive,
           check, files stored whole, rows, labels, history; without thumbnails
upload     the same files through the upload action (as single files come from a browser), one after the other

With --product the whole program runs as `up` starts it, with all its workers. The files come over HTTP once
as an archive and once one by one, as browsers send them. Seconds are from the first byte sent:

first       until the first image shows with its thumbnail
labelable   until all images can be labeled
done        until all have thumbnail, measures, embedding and duplicate group, and suggestions
grid        milliseconds of a page of the grid with its 100 thumbnails, six at a time, once all are labelable
"""

from __future__ import annotations

import argparse
import io
import os
import sqlite3
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from PIL import ImageOps

from benchmarks.labeling import set_up

SIDE = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="real photos, a folder for each label; noise without it")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--product", action="store_true", help="the whole program, with all its workers")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contents = pictures(options.photos, options.images)
    size = sum(map(len, contents)) / len(contents) / 1000
    print(f"{len(contents):,} pictures of {size:.0f} kB on average, {os.cpu_count()} cores")
    if options.product:
        whole(contents)
    else:
        paces(contents, options.rounds)


def paces(contents: Sequence[bytes], rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="exeml-importing-") as folder:
        set_up(folder, "")
        work = (alone(decode_and_shrink), alone(check), importing, uploading)
        measured = [[measure(contents) for measure in work] for _ in range(rounds)]
    for name, each in zip(("pillow", "check", "import", "upload"), zip(*measured, strict=True), strict=True):
        ratios = [pace / base for pace, (base, *_) in zip(each, measured, strict=True)]
        print(f"{name:<8}{max(each):6.0f} images/s   ratio {sorted(ratios)[rounds // 2]:.2f} (median)")


def pictures(photos: Path | None, count: int) -> list[bytes]:
    """`count` files that all differ: a photo again gets other bytes behind its end, as decoders allow."""
    if photos:
        found = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))]
    else:
        found = [noise(seed) for seed in range(200)]
    return [found[n % len(found)] + f"{n}".encode() for n in range(count)]


def noise(seed: int) -> bytes:
    import numpy as np

    field = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
    out = io.BytesIO()
    Pillow.fromarray(field).resize((600, 400), Pillow.Resampling.BICUBIC).save(out, "JPEG", quality=85)
    return out.getvalue()


def alone(work: Callable[[bytes], object]) -> Callable[[Sequence[bytes]], float]:
    """Images a second of Pillow alone."""

    def pace(contents: Sequence[bytes]) -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(work, contents))
        return len(contents) / (time.perf_counter() - began)

    return pace


def check(content: bytes) -> None:
    with Pillow.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        picture.draft("RGB", (1, 1))
        picture.load()


def decode_and_shrink(content: bytes) -> bytes:
    with Pillow.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        picture.verify()
    with Pillow.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        picture.draft("RGB", (SIDE, SIDE))
        small = ImageOps.exif_transpose(picture).convert("RGB")
        small.thumbnail((SIDE, SIDE), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=80, method=0)
    return out.getvalue()


def importing(contents: Sequence[bytes]) -> float:
    """Images a second of the job, from its claim to Completed."""
    from projects.models import Transfer
    from projects.transfers import import_job, imports, upload_parts

    project, archive = new_project(), zipped(contents)
    transfer = imports.create_import(project, [{"name": "a.zip", "size": len(archive)}], {}, None)
    for part in range(upload_parts.part_count(len(archive))):
        upload_parts.save_part(
            transfer, 0, part, archive[part * upload_parts.PART_BYTES : (part + 1) * upload_parts.PART_BYTES]
        )
    Transfer.objects.filter(pk=transfer.pk).update(status=Transfer.Status.WAITING)
    began = time.perf_counter()
    import_job.run(transfer.pk)
    seconds = time.perf_counter() - began
    transfer.refresh_from_db()
    assert transfer.status == Transfer.Status.COMPLETED, transfer.traceback or transfer.problem
    assert project.images.filter(is_labeled=True).count() == len(contents)
    return len(contents) / seconds


def uploading(contents: Sequence[bytes]) -> float:
    from projects.images import upload

    project, files = new_project(), [io.BytesIO(content) for content in contents]
    for number, file in enumerate(files):
        file.name = f"{number}.jpg"
    began = time.perf_counter()
    upload.add_images(project, files, None)
    assert project.images.count() == len(contents)
    return len(contents) / (time.perf_counter() - began)


def new_project() -> object:
    from projects.models import Project, Team

    team, _ = Team.objects.get_or_create(name="Importing")
    return Project.objects.create(team=team, name=f"import-{Project.objects.count()}")


def zipped(contents: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"label-{number % 30}/{number}.jpg", content)
    return out.getvalue()


# --- the whole program ---


def whole(contents: Sequence[bytes]) -> None:
    """Both ways in turn, each in a program of its own, beside Pillow alone."""
    from benchmarks.ten_minutes import Product

    for name, send in (("archive", send_archive), ("files", send_files)):
        limits = [len(contents) / alone(work)(contents) for work in (check, decode_and_shrink)]
        with (
            tempfile.TemporaryDirectory(prefix="exeml-importing-") as folder,
            Product(Path(folder) / "exeml") as product,
        ):
            stages = Stages(product, len(contents))
            stages.follow(partial(send, product, stages.project, contents))
        seconds = "   ".join(f"{stage} {stages.seconds[stage]:6.1f} s" for stage in Stages.NAMES)
        print(f"{name:<8} {seconds}   grid {stages.grid_ms:.0f} ms", flush=True)
        print(f"         Pillow alone: check {limits[0]:.1f} s, thumbnails {limits[1]:.1f} s", flush=True)


def send_archive(product: Any, project: int, contents: Sequence[bytes]) -> None:
    product.upload(f"/projects/{project}/transfers/new/", "uploads", {"a.zip": zipped(contents)})


def send_files(product: Any, project: int, contents: Sequence[bytes]) -> None:
    from benchmarks.ten_minutes import Connection, in_batches, signed_in

    headers = signed_in(product)
    path = f"/projects/{project}/images/upload/"
    in_batches(contents, 32, lambda: Connection(product.port, headers), path, "files")


class Stages:
    """Follows a new project of a running product until all its images are done."""

    NAMES = ("first", "labelable", "done")

    def __init__(self, product: Any, images: int) -> None:
        from tests.supervisor_process import ADMIN_PASSWORD

        self.product, self.images = product, images
        self.seconds: dict[str, float] = {}
        self.grid_ms = 0.0
        product.sign_in("admin", ADMIN_PASSWORD)
        address, _ = product.post("/projects/new/?team=1", {"name": "flowers", "is_multi_label": "no"})
        self.project = int(address.partition("/projects/")[2].partition("/")[0])
        self.rows = sqlite3.connect(f"file:{product.folder}/exeml.sqlite3?mode=ro", uri=True)
        while self.value("SELECT 1 FROM projects_project WHERE id <> ? AND copies_searched = ''"):
            time.sleep(1)  # the workers are busy with the sample project

    def follow(self, send: Callable[[], None]) -> None:
        sender = threading.Thread(target=send)
        began = time.monotonic()
        sender.start()
        for name, is_reached in zip(self.NAMES, (self.has_first, self.has_all, self.is_done), strict=True):
            while not is_reached():
                if not sender.is_alive() and time.monotonic() - began > 1800:
                    raise TimeoutError(name)
                time.sleep(0.2)
            self.seconds[name] = time.monotonic() - began
            if name == "labelable":
                self.measure_grid()
        sender.join()

    def value(self, query: str) -> Any:
        return self.rows.execute(query, [self.project]).fetchone()

    def has_first(self) -> bool:
        row = self.value("SELECT sha256 FROM projects_image WHERE project_id = ? LIMIT 1")
        if row:
            self.fetch(row[0])
        return bool(row)

    def has_all(self) -> bool:
        """Whether all have their rows, and the labels that came with them."""
        is_busy = self.value("SELECT 1 FROM projects_transfer WHERE project_id = ? AND finished_at IS NULL")
        [images] = self.value("SELECT count(*) FROM projects_image WHERE project_id = ?")
        return images == self.images and not is_busy

    def is_done(self) -> bool:
        [searched] = self.value("SELECT copies_searched FROM projects_project WHERE id = ?")
        return str(searched).startswith(f"{self.images}:")

    def fetch(self, sha256: str) -> None:
        path = f"/projects/{self.project}/thumbnails/{sha256}.webp"
        self.product.opener.open(self.product.url + path, timeout=60).read()

    def measure_grid(self) -> None:
        began = time.monotonic()
        page = self.product.get(f"/projects/{self.project}/label-data/?tab=all")
        address = f"/projects/{self.project}/thumbnails/"
        shown = [part.partition(".webp")[0] for part in page.split(address)[1:]]
        with ThreadPoolExecutor(6) as browser:
            list(browser.map(self.fetch, shown))
        self.grid_ms = 1000 * (time.monotonic() - began)


if __name__ == "__main__":
    main()

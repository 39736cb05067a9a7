"""The speed of an import, beside Pillow alone on the same images and cores, in one run.

    python -m benchmarks.importing [--photos FOLDER] [--images 2000]

pillow     open, verify, decode (JPEG at a fraction, as the product does), thumbnail, its WebP: the least
           work for thumbnails and for checking that files are complete; threads on all cores
import     the job of the imports worker on a zip archive with a folder for each label: reading the archive,
           the above, files and thumbnails stored whole, rows, labels, history
upload     the same files through the upload action (as single files come from a browser), one after the other
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    options = parser.parse_args()
    contents = pictures(options.photos, options.images)
    size = sum(map(len, contents)) / len(contents) / 1000
    print(f"{len(contents):,} pictures of {size:.0f} kB on average, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="exeml-importing-") as folder:
        set_up(folder, "")
        rounds = [(pillow(contents), importing(contents), uploading(contents)) for _ in range(3)]
    for name, paces in zip(("pillow", "import", "upload"), zip(*rounds, strict=True), strict=True):
        ratios = [pace / base for pace, (base, *_) in zip(paces, rounds, strict=True)]
        print(f"{name:<8}{max(paces):6.0f} images/s   ratio {sorted(ratios)[1]:.2f} (median of 3)")


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


def pillow(contents: Sequence[bytes]) -> float:
    """Images a second."""
    began = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode_and_shrink, contents))
    return len(contents) / (time.perf_counter() - began)


def decode_and_shrink(content: bytes) -> bytes:
    with Pillow.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        picture.verify()
    with Pillow.open(io.BytesIO(content), formats=["JPEG"]) as picture:
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))
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


if __name__ == "__main__":
    main()

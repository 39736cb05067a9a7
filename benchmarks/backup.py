"""Backs up an installation while people label in it, restores it elsewhere, and compares the two.

    python -m benchmarks.backup [--images 3000] [--kilobytes 60] [--postgres postgresql://exeml@127.0.0.1:5433/]

Each line of the table is one way: from SQLite and a folder, or PostgreSQL and S3 (moto), to either. Compared
are the number of rows of every table, the sha256 of every file, whether labels and images agree
(`is_labeled`, one moment), and the predictions of all validation images, made anew by the restored model.
`tar` packs the same files and the database file of the same installation in the same run; the ratio says
what the rest costs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BUCKET = "exeml"
STEPS = ("fill", "save", "compare")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--kilobytes", type=int, default=60, help="of an image")
    parser.add_argument("--postgres", default="", help="a server; databases are made in it and dropped")
    parser.add_argument("--step", choices=STEPS, help="used by the program itself")
    parser.add_argument("--file", type=Path, help="used by the program itself")
    options = parser.parse_args()
    if options.step:
        import django

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exeml_site.settings")
        django.setup()
        {"fill": fill, "save": save, "compare": compare}[options.step](options)
        return
    with tempfile.TemporaryDirectory(prefix="exeml-backup-") as folder, s3_server() as endpoint:
        run(options, Path(folder), endpoint)


def run(options: argparse.Namespace, folder: Path, endpoint: str) -> None:
    sqlite = {"DATABASE_URL": "", "STORAGE_URL": ""}
    ways = [("SQLite, folder", sqlite, "SQLite, folder", sqlite)]
    if options.postgres:
        postgres = [new_database(options.postgres, f"backup_{number}") for number in range(3)]
        s3 = [f"s3://{BUCKET}/{number}?endpoint={endpoint}" for number in range(3)]
        on_servers = [
            {"DATABASE_URL": database, "STORAGE_URL": storage}
            for database, storage in zip(postgres, s3, strict=True)
        ]
        ways += [
            ("SQLite, folder", sqlite, "PostgreSQL, S3", on_servers[0]),
            ("PostgreSQL, S3", on_servers[1], "PostgreSQL, S3", on_servers[2]),
            ("PostgreSQL, S3", on_servers[1], "SQLite, folder", sqlite),
        ]
    head = f"{'from':<15} {'to':<15} {'rows':>8} {'MB':>6} {'backup':>9} {'MB/s':>6} {'÷ tar':>6}"
    print(f"{head} {'restore':>9} {'actions':>8}  compared", flush=True)
    filled: dict[str, Path] = {}
    for number, (name, source, other, target) in enumerate(ways):
        file = folder / f"{number}.tar"
        if name not in filled:
            filled[name] = folder / f"source-{number}"
            step(options, "fill", filled[name], source)
        saved = step(options, "save", filled[name], source, file)
        elsewhere = folder / f"target-{number}"
        began = time.monotonic()
        manage(elsewhere, target, "restore", str(file))
        seconds = time.monotonic() - began
        compared = step(options, "compare", elsewhere, target, file)
        megabytes = file.stat().st_size / 1e6
        ratio = f"{saved['seconds'] / saved['tar_s']:.1f}" if saved["tar_s"] else "--"
        print(
            f"{name:<15} {other:<15} {saved['rows']:>8,} {megabytes:>6,.0f} {saved['seconds']:>7.1f} s "
            f"{megabytes / saved['seconds']:>6.1f} {ratio:>6} {seconds:>7.1f} s {saved['actions']:>8} "
            f" {compared['verdict']}",
            flush=True,
        )


# --- processes -----


def environment(folder: Path, where: dict[str, str]) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"), "test")
    own = {"EXEML_DATA": str(folder), "EXEML_SECRET_KEY": "of the benchmark", "EXEML_LOG_LEVEL": "ERROR"}
    return {**os.environ, **keys, **where, **own}


def step(
    options: argparse.Namespace, name: str, folder: Path, where: dict[str, str], file: Path | None = None
) -> Any:
    command = [sys.executable, "-m", "benchmarks.backup", "--step", name, "--images", str(options.images)]
    command += ["--kilobytes", str(options.kilobytes)] + (["--file", str(file)] if file else [])
    done = subprocess.run(command, env=environment(folder, where), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def manage(folder: Path, where: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(
        command, env=environment(folder, where), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **keys).create_bucket(Bucket=BUCKET)
    yield endpoint
    server.stop()


def new_database(server: str, name: str) -> str:
    import psycopg

    with psycopg.connect(f"{server.rstrip('/')}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server.rstrip('/')}/{name}"


# --- steps, each in a process with the settings of its installation -----


def fill(options: argparse.Namespace) -> None:
    """A project with labeled pictures of noise, a model, and its predictions of a tenth of them."""
    import shutil

    import numpy as np
    from django.core.management import call_command
    from PIL import Image as Picture

    from exeml_site.lib import storage
    from projects.images import upload
    from projects.labels import actions
    from projects.models import Image
    from tests.factories import make_project, make_user, make_version
    from tests.training.bundles import write_colour_bundle

    call_command("migrate", verbosity=0)
    project, random = make_project(labels=6, images=0), np.random.default_rng(0)
    side = int((options.kilobytes * 1024 / 0.9) ** 0.5)
    for number in range(options.images):
        pixels = random.integers(0, 256, (side, side, 3), np.uint8)
        out = io.BytesIO()
        Picture.fromarray(pixels).save(out, "JPEG", quality=75)
        stored = upload.store_image(project, f"{number}.jpg", out.getvalue())
        upload.insert_images(project, [stored], make_user("alice"))
    ids = list(Image.objects.filter(project=project).values_list("pk", flat=True))
    for place in range(6):
        actions.apply(project, ids[place::6], add=[f"label-{place}"], by=make_user("bob"))
    version = make_version(project, status="Completed", accuracy=0.5)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        write_colour_bundle(bundle)
        for path in bundle.iterdir():
            storage.save_whole(f"{version.folder}/bundle/{path.name}", path.read_bytes())
    shutil.rmtree(os.environ["EXEML_DATA"] + "/work", ignore_errors=True)
    evaluate(ids[::10], create=True)
    print("{}")


def evaluate(ids: list[int], *, create: bool) -> int:
    """Predict the images with the stored model; create their rows, or count those that differ from them."""
    from exeml_site.lib.storage import local_path
    from projects.models import Image
    from training.models import EvaluatedImage, TrainingVersion
    from training.serving.inference.model_cache import load_model

    version = TrainingVersion.objects.get()
    model, wrong = load_model(version), 0
    for image in Image.objects.filter(pk__in=ids).order_by("pk"):
        scores = [round(float(score), 5) for score in model.predict_one(local_path(image.file_name))]
        if create:
            EvaluatedImage.objects.create(
                training_version=version,
                image=image,
                truth=["red"],
                predicted=["red"],
                scores=scores,
                confidence=max(scores),
                is_correct=True,
            )
        else:
            row = EvaluatedImage.objects.get(image=image)
            wrong += max(abs(a - b) for a, b in zip(scores, row.scores, strict=True)) > 1e-4
    return wrong


def save(options: argparse.Namespace) -> None:
    """Back up while a person labels, and pack the same files with tar."""
    from django.conf import settings

    from projects.backup.create import create_backup

    tar_s = 0.0
    if not settings.STORAGE_URL:
        began, packed = time.monotonic(), options.file.with_suffix(".plain")
        names = ["files", *(path.name for path in Path(settings.DATA_DIR).glob("exeml.sqlite3*"))]
        subprocess.run(["tar", "-cf", packed, "-C", settings.DATA_DIR, *names], check=True)
        with packed.open("rb") as file:
            os.fsync(file.fileno())
        tar_s = time.monotonic() - began
        packed.unlink()
    with labeling() as actions_done:
        counts = create_backup(options.file)
        done = actions_done()
    rows = sum(counts.rows.values())
    print(json.dumps({"seconds": counts.seconds, "rows": rows, "tar_s": tar_s, "actions": done}))


@contextlib.contextmanager
def labeling() -> Iterator[Callable[[], int]]:
    """A person who gives an image another label, again and again; how often so far."""
    from django.db import connection

    from projects.labels import actions
    from projects.models import Image, Project
    from tests.factories import make_user

    ended, counted = threading.Event(), [0]

    def label() -> None:
        project, bob = Project.objects.get(), make_user("bob")
        ids = list(Image.objects.values_list("pk", flat=True))
        while not ended.is_set():
            number = counted[0]
            actions.apply(project, [ids[number % len(ids)]], add=[f"label-{number % 5}"], by=bob)
            counted[0] += 1
        connection.close()

    thread = threading.Thread(target=label)
    thread.start()
    try:
        yield lambda: counted[0]
    finally:
        ended.set()
        thread.join()


def compare(options: argparse.Namespace) -> None:
    """The restored installation with its backup."""
    import hashlib

    from django.core.files.storage import default_storage
    from django.db.models import Count

    from projects.backup.archive import ArchiveReader
    from projects.backup.create import stored_models
    from projects.models import Image
    from training.models import EvaluatedImage

    with options.file.open("rb") as file:
        archive = ArchiveReader(file)
        counts = archive.check()
        differing = [
            member.name
            for member in archive.members()
            if member.name.startswith("files/")
            and hashlib.sha256(archive.open(member).read()).digest()
            != hashlib.sha256(default_storage.open(member.name.removeprefix("files/")).read()).digest()
        ]
    found = {model._meta.label_lower: model._base_manager.count() for model in stored_models()}
    images = Image.objects.annotate(given=Count("annotations")).values_list("is_labeled", "given")
    torn = sum(is_labeled != bool(given) or given > 1 for is_labeled, given in images)
    wrong = evaluate(list(EvaluatedImage.objects.values_list("image_id", flat=True)), create=False)
    rows = [name for name, count in counts["rows"].items() if found[name] != count]
    verdict = f"rows {len(rows)}, files {len(differing)}, torn {torn}, predictions {wrong} differ"
    print(json.dumps({"verdict": verdict if rows or differing or torn or wrong else "all equal"}))


if __name__ == "__main__":
    main()

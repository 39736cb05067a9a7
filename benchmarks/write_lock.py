"""The longest transaction of each action whose length a person decides, and what others wait meanwhile.

    python -m benchmarks.write_lock [--images 20000] [--labels 2000]

SQLite lets one connection write at a time, so a long transaction of one project stops everybody's writing.
Each action runs once, with as many images or labels as a person may choose. `longest`: seconds of its longest
transaction, `total`: of all of it. `p95`: of another person who labels one image of another project every
20 ms meanwhile, in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.importing import noise
from benchmarks.labeling import set_up

ROW = "{:<44}{:>10}{:>10}{:>10}{:>10}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-write-lock-") as folder:
        set_up(folder, "")
        measure_transactions()
        print(ROW.format("action", "longest", "total", "p95", "most"))
        for name, action in actions_of(options.images, options.labels).items():
            report(name, action, folder)


class Transactions:
    """Seconds of every transaction of this process."""

    seconds: list[float] = []


def measure_transactions() -> None:
    from exeml_site.sqlite3.base import DatabaseWrapper

    acquire, release = DatabaseWrapper._acquire, DatabaseWrapper._release
    began: dict[int, float] = {}

    def timed_acquire(self: Any) -> None:
        acquire(self)
        began[id(self)] = time.perf_counter()

    def timed_release(self: Any) -> None:
        release(self)
        if id(self) in began:
            Transactions.seconds.append(time.perf_counter() - began.pop(id(self)))

    DatabaseWrapper._acquire, DatabaseWrapper._release = timed_acquire, timed_release


def report(name: str, action: Callable[[], Any], folder: str) -> None:
    here, there = multiprocessing.Pipe()
    other = multiprocessing.get_context("spawn").Process(target=label_meanwhile, args=(folder, there))
    other.start()
    here.recv()  # it labels
    Transactions.seconds = []
    began = time.perf_counter()
    action()
    total = time.perf_counter() - began
    here.send("stop")
    waits = sorted(here.recv())
    other.join()
    p95 = waits[int(0.95 * (len(waits) - 1))]
    figures = (max(Transactions.seconds, default=0.0), total, p95, waits[-1])
    print(ROW.format(name, *(f"{figure:.3f} s" for figure in figures)), flush=True)


def label_meanwhile(folder: str, pipe: Connection) -> None:
    """Label one image again and again until told to stop; send the seconds of each."""
    set_up(folder, "")
    from projects.labels import actions

    project = new_project("other", images=1)
    [pk] = project.images.values_list("pk", flat=True)
    waits: list[float] = []
    names = ["one", "two"]
    actions.apply(project, [pk], add=names[:1], by=None)
    pipe.send("ready")
    while not pipe.poll(0.02):
        names.reverse()
        began = time.perf_counter()
        actions.apply(project, [pk], add=names[:1], by=None)
        waits.append(time.perf_counter() - began)
    pipe.send(waits or [0.0])


def new_project(name: str, images: int = 0) -> Any:
    from projects.models import Image, Project, Team

    team, _ = Team.objects.get_or_create(name="Benchmark")
    project = Project.objects.create(team=team, name=f"{name}-{Project.objects.count()}")
    Image.objects.bulk_create(
        [
            Image(
                project=project,
                sha256=f"{n:064x}",
                name=f"{n}.jpg",
                format="JPEG",
                width=9,
                height=9,
                size_bytes=9,
            )
            for n in range(images)
        ],
        batch_size=500,
    )
    return project


def actions_of(images: int, labels: int) -> dict[str, Callable[[], Any]]:
    """The actions in an order in which each finds what it needs."""
    from decimal import Decimal

    from projects.datasets import publish
    from projects.images import bin as image_bin
    from projects.labels import actions
    from projects.models import DatasetVersion, Label

    project = new_project("large", images)
    ids = list(project.images.values_list("pk", flat=True))
    version = DatasetVersion(project=project, name="V001", training_ratio=Decimal("0.8"))

    def label(name: str) -> Label:
        return Label.objects.get(project=project, name=name)

    def undo() -> None:
        event = project.label_events.first()
        assert event is not None
        actions.undo(event, None)

    def publish_version() -> None:
        version.save()
        publish.publish(version)

    return {
        f"import a list of {labels:,} labels": lambda: import_files(label_list(labels)),
        "import a list of 10,000 labels": lambda: import_files(label_list(10_000)),
        f"import a table of {labels:,} labels": lambda: import_files(table(labels)),
        f"label {images:,} images": lambda: actions.apply(project, ids, add=["a"], by=None),
        "undo it": undo,
        "label them again": lambda: actions.apply(project, ids, add=["a"], by=None),
        "publish a dataset version of them": publish_version,
        "merge their label into another": lambda: actions.merge_labels(
            label("a"), actions.ensure_labels(project, ["b"])[0], None
        ),
        "undo the merge": undo,
        "delete their label": lambda: actions.delete_label(label("a"), None),
        "undo the deletion": undo,
        "move them to the bin": lambda: actions.delete_images(project, ids, None),
        "restore them": lambda: actions.restore_images(project, ids, None),
        "move them to the bin again": lambda: actions.delete_images(project, ids, None),
        "empty the bin": lambda: image_bin.purge(project, ids),
    }


def label_list(count: int) -> dict[str, bytes]:
    rows = "".join(f"label {n},{n % 10},\n" for n in range(count))
    return {"labels.csv": ("label,colour,key\n" + rows).encode(), "1.jpg": noise(1)}


def table(count: int) -> dict[str, bytes]:
    """A table with a label of its own for each row; one picture serves all."""
    rows = "".join(f"{n}.jpg,label {n}\n" for n in range(count))
    pictures = {f"{n}.jpg": noise(n % 50) + str(n).encode() for n in range(count)}
    return {"table.csv": ("image,label\n" + rows).encode(), **pictures}


def import_files(files: dict[str, bytes]) -> None:
    import io
    import zipfile

    from projects.models import Transfer
    from projects.transfers import import_job, imports, upload_parts

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    content = out.getvalue()
    project = new_project("import")
    transfer = imports.create_import(project, [{"name": "a.zip", "size": len(content)}], {}, None)
    size = upload_parts.PART_BYTES
    for part in range(upload_parts.part_count(len(content))):
        upload_parts.save_part(transfer, 0, part, content[part * size : (part + 1) * size])
    Transfer.objects.filter(pk=transfer.pk).update(status=Transfer.Status.WAITING)
    import_job.run(transfer.pk)


if __name__ == "__main__":
    main()

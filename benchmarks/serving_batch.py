"""A batch of thousands through the pages of the product, its worker killed on the way."""

from __future__ import annotations

import csv
import io
import re
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.served import DeployedService, kill_worker
from training.engine.bundle.bundle import Bundle

KILL_AT = 0.3  # of the images
LONGEST_S = 3600
COMPARED = 100  # different photos whose answers are compared
TOLERANCE = 2e-3
BROKEN = "broken.jpg"


@dataclass
class BatchProgress:
    """What the page of batches said until the batch ended."""

    killed: int = 0
    done_when_killed: int = 0
    silent_s: float = 0.0  # from the kill to the next image
    done: list[tuple[float, int]] = field(default_factory=list)  # (s, images)
    state: str = ""
    link: str = ""


def batch(service: DeployedService, bundle: Bundle, photos: Sequence[Path], count: int) -> dict[str, Any]:
    """`count` images (`photos` over and over) and a broken one, in a zip archive that the form sends."""
    product = service.product
    product.sign_in("alice", service.password)
    inside = {f"photo-{number:06d}.jpg": photos[number % len(photos)] for number in range(count)}
    content = _archive(inside)
    began = time.monotonic()
    product.upload(f"{service.page}batches/begin/", "uploads", {"photos.zip": content})
    sent_s = time.monotonic() - began
    seen = _wait_for_batch(service, count)
    rows = list(csv.DictReader(io.StringIO(product.get(f"{seen.link}results.csv"))))
    sources = Counter(row["source"] for row in rows)
    seconds = seen.done[-1][0]
    return {
        "pictures": count,
        "state": seen.state,
        "upload_mb": round(len(content) / 1e6, 1),
        "upload_s": round(sent_s, 1),
        "seconds": round(seconds, 1),
        "killed_processes": seen.killed,
        "done_when_killed": seen.done_when_killed,
        "silent_after_kill_s": round(seen.silent_s, 1),
        "per_second_without_silence": round(count / (seconds - seen.silent_s), 1),
        "missing": len(set(inside) - set(sources)),
        "doubles": sum(times - 1 for times in sources.values()),
        "without_answer": [row["source"] for row in rows if row["result"] == "FAILED"],
        "wrong_answers": _wrong(rows, inside, bundle),
    }


def _archive(inside: Mapping[str, Path]) -> bytes:
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, path in inside.items():
                archive.write(path, name)
            archive.writestr(BROKEN, b"no picture")
        file.seek(0)
        return file.read()


def _wait_for_batch(service: DeployedService, count: int) -> BatchProgress:
    seen, began, killed_at = BatchProgress(), time.monotonic(), 0.0
    while time.monotonic() - began < LONGEST_S:
        page = service.product.get(f"{service.page}batches/").partition("<article")[2]
        batch = re.search(
            r'class="\s*badge[^"]*">\s*(\w+)\s*<.*?/batches/(\d+)/.*?([\d,]+)[^<]* predicted by', page, re.S
        )
        assert batch, "the page lists no batch"
        seen.state, done = batch[1], int(batch[3].replace(",", ""))
        seen.link = f"{service.page}batches/{batch[2]}/"
        seen.done.append((time.monotonic() - began, done))
        if killed_at and not seen.silent_s and done > seen.done_when_killed:
            seen.silent_s = time.monotonic() - killed_at
        if not killed_at and done > KILL_AT * count:
            seen.killed, seen.done_when_killed = kill_worker(service.product, "imports"), done
            killed_at = time.monotonic()
        if seen.state not in ("Waiting", "Running"):
            break
        time.sleep(1)
    return seen


def _wrong(rows: Sequence[Mapping[str, str]], inside: Mapping[str, Path], bundle: Bundle) -> int:
    """Answers that differ from the bare model's."""
    chosen = sorted(set(inside.values()))[:COMPARED]
    expected = {path: bundle.answer(path.read_bytes()).scores for path in chosen}
    wrong = 0
    for row in rows:
        scores = expected.get(inside.get(row["source"], Path()))
        if scores is not None:
            is_same = row["predicted_label"] == bundle.labels[int(scores.argmax())]
            wrong += not is_same or abs(float(row["score"]) - float(scores.max())) > TOLERANCE
    return wrong

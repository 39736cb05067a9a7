"""Results of a batch: as CSV, or as the zip that ExeML writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from zipstream import ZipStream

from exeml_site.lib import storage
from projects.formats.csv_text import write_csv
from training.models import Batch

HEAD = ("source", "result", "predicted_label", "score", "is_known", "scores", "error_message")

ANSWER = ("predicted_label", "predicted_labels", "scores", "is_known", "settings")


def read_results(batch: Batch) -> Iterator[dict[str, Any]]:
    """The result lines in the order of the images. Raises FileNotFoundError if there are none."""
    with storage.local_path(f"{batch.folder}/results.jsonl").open("rb") as lines:
        yield from map(json.loads, lines)


def csv_table(batch: Batch) -> Iterator[bytes]:
    """CSV with a header: source, result, labels, score, is_known, the five best scores, error message."""
    yield write_csv([HEAD])
    for line in read_results(batch):
        labels = "|".join(line.get("predicted_labels", []))
        scores = line.get("scores", [])
        five = "|".join(f"{label}:{score:.4f}" for label, score in scores)
        score = f"{scores[0][1]:.6f}" if scores else ""
        known = {True: "yes", False: "no"}.get(line.get("is_known"), "")  # type: ignore[arg-type]
        error = line.get("error_message", "")
        yield write_csv([[line["source"], line["result"], labels, score, known, five, error]])


def result_archive(batch: Batch) -> ZipStream:
    """A zip as ExeML writes it: result.manifest, and `<image>_result.txt` for each answered image."""
    archive = ZipStream()
    archive.add(_manifest(batch), "result.manifest")
    for line in read_results(batch):
        if line["result"] == "SUCCESSFUL":
            answer = {key: line[key] for key in ANSWER if key in line}  # older lines state no settings
            archive.add(
                json.dumps(answer, ensure_ascii=False, indent=1).encode(), _result_name(line["source"])
            )
    return archive


def _manifest(batch: Batch) -> Iterator[bytes]:
    for line in read_results(batch):
        entry = {"source": line["source"], "result": line["result"]}
        if line["result"] == "SUCCESSFUL":
            entry["inference-loc"] = _result_name(line["source"])
        else:
            entry["error_message"] = line["error_message"]
        yield json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def _result_name(source: str) -> str:
    return f"{source}_result.txt"


def first_failures(batch: Batch, limit: int) -> list[dict[str, Any]]:
    """The first `limit` images without an answer."""
    return list(islice((line for line in read_results(batch) if line["result"] == "FAILED"), limit))

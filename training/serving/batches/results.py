"""The answers of a batch, to read and to take along: a table, or what ExeML writes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from zipstream import ZipStream

from exeml_site.lib import storage
from training.models import Batch


def read_results(batch: Batch) -> Iterator[dict[str, Any]]:
    """The answers, in the order of the pictures. Raises FileNotFoundError where there are none."""
    with storage.local_path(f"{batch.folder}/results.jsonl").open("rb") as lines:
        yield from map(json.loads, lines)


def csv_table(batch: Batch) -> Iterator[bytes]:
    """CSV: picture, result, labels, score, whether it is known, the five best, and why there is no answer."""
    yield _csv_row("source", "result", "predicted_label", "score", "is_known", "scores", "error_message")
    for one in read_results(batch):
        labels = "|".join(one.get("predicted_labels", []))
        scores = one.get("scores", [])
        five = "|".join(f"{label}:{score:.4f}" for label, score in scores)
        score = f"{scores[0][1]:.6f}" if scores else ""
        known = {True: "yes", False: "no"}.get(one.get("is_known"), "")  # type: ignore[arg-type]
        yield _csv_row(one["source"], one["result"], labels, score, known, five, one.get("error_message", ""))


def result_archive(batch: Batch) -> ZipStream:
    """ExeML's form: result.manifest, and `<picture>_result.txt` for each that was answered."""
    found = ZipStream()
    found.add(_manifest(batch), "result.manifest")
    for one in read_results(batch):
        if one["result"] == "SUCCESSFUL":
            answer = {key: one[key] for key in ("predicted_label", "scores", "is_known")}
            found.add(json.dumps(answer, ensure_ascii=False, indent=1).encode(), _result_name(one["source"]))
    return found


def _manifest(batch: Batch) -> Iterator[bytes]:
    for one in read_results(batch):
        line = {"source": one["source"], "result": one["result"]}
        if one["result"] == "SUCCESSFUL":
            line["inference-loc"] = _result_name(one["source"])
        else:
            line["error_message"] = one["error_message"]
        yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _result_name(source: str) -> str:
    return f"{source}_result.txt"


def _csv_row(*cells: Any) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(_escape_formula(cell) for cell in cells)
    return out.getvalue().encode()


def _escape_formula(cell: Any) -> str:
    """Spreadsheets take a text that begins like this for a formula."""
    text = str(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def first_failures(batch: Batch, most: int) -> list[dict[str, Any]]:
    """The first pictures without an answer."""
    return list(islice((one for one in read_results(batch) if one["result"] == "FAILED"), most))

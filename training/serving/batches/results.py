"""Results of a batch: as CSV, or as the zip that ExeML writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from zipstream import ZipStream

from exeml_site.lib import storage
from projects import audit
from projects.formats.csv_text import write_csv
from training.models import Batch
from training.serving.batches.judgement import Judgement

HEAD = (
    *("source", "result", "predicted_label", "score", "is_known", "scores", "error_message"),
    *("true_label", "is_right", "is_trained_on"),
)
YES_NO = {True: "yes", False: "no", None: ""}

ANSWER = ("predicted_label", "predicted_labels", "scores", "is_known", "settings")


def read_results(batch: Batch) -> Iterator[dict[str, Any]]:
    """The result lines in the order of the images. Raises FileNotFoundError if there are none."""
    with storage.local_path(f"{batch.folder}/results.jsonl").open("rb") as lines:
        yield from map(json.loads, lines)


def csv_table(batch: Batch) -> Iterator[bytes]:
    """CSV with a header: source, result, labels, score, is_known, the five best scores, error message.

    Where the label of an image is known: its labels, whether the answer is right, and whether the version was
    trained on the image.
    """
    yield write_csv([HEAD])
    for line in read_results(batch):
        labels = "|".join(line.get("predicted_labels", []))
        scores = line.get("scores", [])
        five = "|".join(f"{label}:{score:.4f}" for label, score in scores)
        score = f"{scores[0][1]:.6f}" if scores else ""
        error = line.get("error_message", "")
        truth = "|".join(line.get("true_labels", []))
        known, right, trained = (YES_NO[line.get(name)] for name in ("is_known", "is_right", "is_trained_on"))
        answer = [line["source"], line["result"], labels, score, known, five, error]
        yield write_csv([[*answer, truth, right, trained if truth else ""]])


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


def report(batch: Batch) -> dict[str, Any]:
    """The judgement of a batch: accuracy, recall and precision of each label, confusion matrix."""
    judgement = Judgement.of_json(batch.judgement)
    return {
        "batch": batch.name,
        "version": batch.training_version.name,
        "images": batch.done,
        "without_answer": batch.failed,
        "accuracy": asdict(judgement.accuracy),
        "images_trained_on": {"images": judgement.trained, "hits": judgement.trained_hits},
        "knows_images_trained_on": judgement.knows_training,
        "images_without_known_label": judgement.without_label,
        "images_of_labels_unknown_to_the_version": judgement.unknown_label,
        "labels": [
            {
                "label": row.label,
                "images": row.images,
                "recall": asdict(row.recall),
                "precision": asdict(row.precision),
            }
            for row in judgement.labels
        ],
        "confusion": judgement.confusion,
    }


def report_json(batch: Batch) -> bytes:
    return json.dumps(report(batch), ensure_ascii=False, indent=1).encode()


def first_failures(batch: Batch, limit: int) -> list[dict[str, Any]]:
    """The first `limit` images without an answer."""
    return list(islice((line for line in read_results(batch) if line["result"] == "FAILED"), limit))


def mistake_picture(batch: Batch, line: int) -> bytes:
    """The thumbnail (WebP) of the mistake in a line of the results. Raises FileNotFoundError."""
    try:
        return b"".join(storage.read_chunks(batch.picture_name(line)))
    except OSError as problem:
        raise FileNotFoundError(line) from problem


@dataclass(frozen=True)
class Download:
    """A file of the results, made while it is sent."""

    name: str
    content_type: str
    content: Iterable[bytes]

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Disposition": f'attachment; filename="{self.name}"'}


FORMATS: dict[str, tuple[str, Callable[[Batch], Iterable[bytes]]]] = {
    "results.csv": ("text/csv; charset=utf-8", csv_table),
    "results.zip": ("application/zip", result_archive),
    "report.json": ("application/json", lambda batch: [report_json(batch)]),
}


def download(batch: Batch, file: str) -> Download:
    """A file of FORMATS; the download is recorded. FileNotFoundError: there is none."""
    if file not in FORMATS or (file == "report.json" and not batch.judgement):
        raise FileNotFoundError(file)
    content_type, read = FORMATS[file]
    try:
        next(read_results(batch), None)
        content = read(batch)
    except OSError as problem:
        raise FileNotFoundError(file) from problem
    name = f"batch-{batch.pk}-{file}"
    audit.record_download(batch.service.project, name)
    return Download(name, content_type, content)

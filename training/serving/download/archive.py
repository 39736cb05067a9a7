"""A version as one zip: the model, its evaluation, and a program that computes the metrics again."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
from django.core.files.storage import default_storage
from django.utils import translation
from zipstream import ZipStream

from exeml_site.lib import storage
from training.engine.bundle import decision
from training.engine.bundle.decision import AnswerSettings
from training.evaluation.answer_figures import figures_under, stored_predictions
from training.evaluation.report import parameters_of, report_html
from training.models import TrainingVersion, VersionEvaluation
from training.serving.download.names import one_line
from training.serving.inference.model_cache import (
    TRAINING_ONLY_FILES,
    ModelUnavailable,
    bundle_folder,
    rule_of_evaluation,
)

KIT = Path(__file__).resolve().with_name("kit")
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "onnxruntime",
    "numpy",
    "Pillow",
    "scikit-learn",
    "Django",
)
README = """{name} of the project {project}

  report.html        what the page says, to read and print
  evaluation.json    labels and metrics        predictions.jsonl  every stored prediction
  test_evaluation.json, test_predictions.jsonl   the same for the test images, if somebody opened the result
  answers.json       stored answer settings and the figures under them; decision.py applies them
  dataset.manifest   images, labels and split  parameters.json    configuration, images fitted, notes, seeds
  environment.json   package versions          charts/            charts of the evaluation as SVG
  bundle/            the model (ONNX, preprocessing described in bundle.json), without torch's weights
  selftest.npz       images and the model's scores for them
  verify.py          python verify.py   computes every metric again and runs the self-test
"""  # not translated: the archive is English


@translation.override("en")
def build_archive(version: TrainingVersion) -> ZipStream:
    """The archive as a stream, made while it is sent. It is English, as programs and other people read it."""
    archive = ZipStream(compress_type=ZIP_DEFLATED)
    archive.add(
        README.format(name=one_line(version.name), project=one_line(version.project.name)), "README.txt"
    )
    archive.add((KIT / "verify.py").read_bytes(), "verify.py")
    archive.add(report_html(version), "report.html")
    archive.add(_json(parameters_of(version)), "parameters.json")
    archive.add(_json(package_versions()), "environment.json")
    archive.add(Path(decision.__file__).read_bytes(), "decision.py")
    archive.add(_json(_evaluation(version)), "evaluation.json")
    archive.add(_json(_answers(version)), "answers.json")
    archive.add(_predictions(version.evaluated_images), "predictions.jsonl")
    _add_test(archive, version)
    if version.dataset_version.manifest and default_storage.exists(version.dataset_version.manifest):
        archive.add(storage.read_chunks(version.dataset_version.manifest), "dataset.manifest")
    _add_folder(archive, f"{version.folder}/charts", "charts")
    try:
        selftest = _selftest(bundle_folder(version))
    except ModelUnavailable:
        return archive  # evaluation and report are worth having without the model
    _add_folder(archive, f"{version.folder}/bundle", "bundle")
    archive.add(selftest, "selftest.npz")
    return archive


def evaluation_json(version: TrainingVersion) -> bytes:
    """Parameters, labels, confusion matrix and metrics in one JSON document."""
    return _json({"parameters": parameters_of(version), **_evaluation(version)})


def package_versions() -> dict[str, Any]:
    """Versions of Python and its packages on this machine."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _evaluation(version: TrainingVersion) -> dict[str, Any]:
    fields = ("label", "name", "value", "low", "high", "hits", "support")
    return {
        "labels": version.confusion.get("labels", []),
        "confusion": version.confusion.get("matrix", []),
        "metrics": list(version.metrics.values(*fields)),
        "cross_validation": version.cross_validation or None,
    }


def _add_test(archive: ZipStream, version: TrainingVersion) -> None:
    """The result on the test images and its predictions, if somebody opened it."""
    test = version.evaluations.completed().shown().filter(kind=VersionEvaluation.Kind.TEST).first()
    if test is None or not test.result.get("independent"):
        return
    figures = {**test.result, **test.result["independent"]}
    fields = ("labels", "metrics", "trained_on", "unreadable", "unknown", "unknown_labels")
    evaluation = {"confusion": figures["matrix"], **{name: figures[name] for name in fields}}
    archive.add(_json(evaluation), "test_evaluation.json")
    archive.add(_predictions(test.images.filter(was_trained_on=False)), "test_predictions.jsonl")


def _answers(version: TrainingVersion) -> dict[str, Any]:
    """The stored answer settings, the rule that they change, and the figures under them, where known."""
    answers: dict[str, Any] = {"settings": version.answer_settings, "figures": None}
    predictions = stored_predictions(version)
    rule = rule_of_evaluation(version, predictions.labels) if predictions else None
    if predictions is None or rule is None:
        return answers
    settings = AnswerSettings.from_json(version.answer_settings)
    return answers | {
        "labels": rule.labels,
        "is_multi_label": rule.is_multi_label,
        "thresholds": rule.thresholds,
        "figures": figures_under(rule, predictions, settings).as_json(),
    }


def _predictions(images: Any) -> Iterator[bytes]:
    """The stored predictions, one JSON object in each line."""
    fields = ("image_id", "image__name", "truth", "predicted", "scores", "is_known", "familiarity")
    for row in images.values(*fields).iterator(chunk_size=500):
        row["name"] = row.pop("image__name")
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _selftest(folder: Path) -> bytes:
    """The self-test as NPZ: images [N, size, size, 3] uint8 for each input size, and their stored scores."""
    from training.engine.bundle.bundle import read_description, self_test_squares
    from training.engine.config import EngineError
    from training.engine.data.images import resize_square

    try:
        description = read_description(folder)
    except EngineError as problem:
        raise ModelUnavailable(str(problem)) from problem
    squares = self_test_squares(description["preprocessing"]["side"])
    images: dict[str, Any] = {
        f"images_{size}": np.stack([resize_square(square, size) for square in squares])
        for size in description["preprocessing"]["resolutions"]
    }
    scores = np.asarray(description["self_test"]["scores"], np.float64)
    out = io.BytesIO()
    np.savez_compressed(out, scores=scores, **images)
    return out.getvalue()


def _add_folder(archive: ZipStream, stored: str, name: str) -> None:
    try:
        _, files = default_storage.listdir(stored)
    except FileNotFoundError:
        return
    for file in sorted(set(files) - TRAINING_ONLY_FILES):
        archive.add(storage.read_chunks(f"{stored}/{file}"), f"{name}/{file}")


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str).encode()

"""A version as a zip that runs elsewhere: one ONNX graph, sample images with scores, a small server."""

from __future__ import annotations

import io
import json
import logging
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext_noop

from exeml_site.lib import jobs, storage
from exeml_site.lib.display import percent
from exeml_site.lib.outages.parts import is_reported
from training.engine.bundle import decision
from training.engine.bundle.decision import AnswerSettings
from training.engine.data import picture, picture_formats
from training.models import EvaluatedImage, TrainingVersion
from training.serving.download.names import image_tag, one_line, path_name
from training.serving.inference.model_cache import ModelUnavailable, bundle_folder, load_model

logger = logging.getLogger(__name__)

KIT = Path(__file__).resolve().with_name("kit")
PROGRAMS = ("model.py", "selftest.py", "server.py")
# Modules of the engine that lie beside the programs in the archive, by the names that they import.
BESIDE: dict[str, ModuleType] = {
    "decision": decision,
    "picture": picture,
    "picture_formats": picture_formats,
}
PACKAGES = ("numpy", "onnxruntime", "Pillow", "pillow-heif")
SAMPLE_COUNT, COMPARED_COUNT = 8, 60  # images in the zip, and images whose scores are compared
FAILED = gettext_noop("The export could not be made. Try again; operators find the reason in the log.")
OTHER_MODEL = """  {file:<20}the same model in {other}; model.onnx is in {chosen}, as the evaluation.
                      Renamed to model.onnx it answers in {other}: some answers may differ
"""  # not translated: the kit is English
README = """{name}: {labels} labels, accuracy {accuracy} on its validation images

  model.onnx        an upright RGB image of any size in, calibrated scores out; includes all preprocessing
{other}  model.json        labels in order, thresholds, answer settings, limits of an image
  model.py          an image in, the answer out: from model import Model; Model().predict(bytes)
  decision.py       scores in, labels out: thresholds and settings; used by model.py
  picture*.py       a file in, its pixels out: formats, orientation, colours; used by model.py
  selftest.py       python selftest.py   predicts the images of samples/ and compares scores and answers
  server.py         TOKEN=secret python server.py   POST /v1/infers/model with the API of the service
  requirements.txt  pip install -r requirements.txt
  Dockerfile        docker build -t {tag} . && docker run -p 8080:8080 -e TOKEN=secret {tag}
"""  # not translated: the kit is English
DOCKERFILE = """FROM python:3.12-slim
WORKDIR /model
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN python selftest.py
USER nobody
EXPOSE 8080
ENV PORT=8080
CMD ["python", "server.py"]
"""  # not translated: a program


def stored_name(version: TrainingVersion) -> str:
    return f"{version.folder}/export.zip"


def request_export(version: TrainingVersion) -> None:
    """Enqueue the export; a second request while it is queued changes nothing."""
    with transaction.atomic():
        _set_state(version, {"state": "making"})
        jobs.enqueue("export_onnx", version.pk, queue=settings.QUEUE_SHORT)


def make(version_id: int) -> None:
    """Job: build and store the export. Safe to run twice: the newer export replaces the older."""
    version = TrainingVersion.objects.completed().select_related("project").filter(pk=version_id).first()
    if version is None:
        return
    try:
        content, parity = _build_archive(version)
        storage.save_whole(stored_name(version), content)
    except Exception as problem:
        if is_reported(problem):
            return  # after an outage the sweep enqueues it again
        if not isinstance(problem, ModelUnavailable):
            logger.exception("The export of training version %s failed", version_id)
        text = str(problem) if isinstance(problem, ModelUnavailable) else FAILED
        _set_state(version, {"state": "failed", "problem": text})
    else:
        used = version.answer_settings
        version.refresh_from_db(fields=["answer_settings"])
        if version.answer_settings != used:  # changed while the export was made
            return make(version_id)
        _set_state(version, {"state": "made", "bytes": len(content), "parity": parity})


def _set_state(version: TrainingVersion, export: dict[str, Any]) -> None:
    TrainingVersion.objects.alive().filter(pk=version.pk).update(export=export)
    version.export = export


def _build_archive(version: TrainingVersion) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the zip, and how its scores differ from the stored ones. Raises ModelUnavailable."""
    about = _model_description(version)
    graphs = _graphs(version)
    graph = graphs["model.onnx"]
    compared = list(_images_to_compare(version))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(graph)
        (Path(folder) / "model.json").write_text(json.dumps(about), "utf-8")
        exported = _run_exported_model(Path(folder), [content for _, content in compared])
    parity = _compare_scores(compared, exported)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        root = path_name(version.model_name or version.name)
        for name, content in _archive_files(version, about, graphs, compared).items():
            archive.writestr(f"{root}/{name}", content)
    return out.getvalue(), parity


def _archive_files(
    version: TrainingVersion,
    about: dict[str, Any],
    graphs: dict[str, bytes],
    compared: list[tuple[EvaluatedImage, bytes]],
) -> dict[str, str | bytes]:
    accuracy = version.metrics.filter(label="", name="accuracy").first()
    accuracy_text = percent(accuracy.value) if accuracy and accuracy.value is not None else "unknown"
    files: dict[str, str | bytes] = {
        "README.txt": readme(version.model_name, len(about["labels"]), accuracy_text, other_model(graphs)),
        **graphs,
        "model.json": json.dumps(about, indent=1, ensure_ascii=False),
        "requirements.txt": "".join(f"{name}=={metadata.version(name)}\n" for name in PACKAGES),
        "Dockerfile": DOCKERFILE,
        **{name: (KIT / name).read_bytes() for name in PROGRAMS},
        **{f"{name}.py": Path(module.__file__ or "").read_bytes() for name, module in BESIDE.items()},
    }
    expected = []
    for number, (evaluated, content) in enumerate(compared[:SAMPLE_COUNT]):
        name = f"{number}.{evaluated.image.format.lower()}" if evaluated.image else str(number)
        files[f"samples/{name}"] = content
        expected.append({"file": name, "scores": evaluated.scores, **_expected_answer(about, evaluated)})
    files["samples/expected.json"] = json.dumps(expected, indent=1)
    return files


def _expected_answer(about: dict[str, Any], evaluated: EvaluatedImage) -> dict[str, Any]:
    """The answer to an evaluated image under the settings of the export."""
    rule = decision.DecisionRule(tuple(about["labels"]), about["is_multi_label"], tuple(about["thresholds"]))
    stored = AnswerSettings.from_json(about["settings"])
    answer = rule.decide(evaluated.scores, stored, evaluated.is_known, evaluated.familiarity)
    known = {"is_known": answer.is_known, "familiarity": evaluated.familiarity}
    return {"labels": list(answer.labels), **known}


def readme(name: str, labels: int, accuracy: str, other: str = "") -> str:
    """README.txt: its commands can be copied into a shell, whatever the project is called."""
    return README.format(
        name=one_line(name), labels=labels, accuracy=accuracy, tag=image_tag(name), other=other
    )


def other_model(graphs: Iterable[str]) -> str:
    """What README.txt says of the model in the other number format; empty without one."""
    file = next((name for name in graphs if name != "model.onnx"), None)
    if file is None:
        return ""
    other, chosen = ("INT8", "float32") if "int8" in file else ("float32", "INT8")
    return OTHER_MODEL.format(file=file, other=other, chosen=chosen)


def _graphs(version: TrainingVersion) -> dict[str, bytes]:
    """The graph in the version's number format as model.onnx, and the other one by its own name.

    Raises ModelUnavailable.
    """
    from training.engine.bundle.bundle import default_number_format, read_description
    from training.engine.bundle.onnx_pipeline import pipeline_graph
    from training.engine.config import EngineError

    try:
        folder = bundle_folder(version)
        description = read_description(folder)
        chosen = default_number_format(description)
        graphs = {"model.onnx": pipeline_graph(folder, chosen)}
        if chosen == "int8":
            graphs["model.float32.onnx"] = pipeline_graph(folder)
        elif "int8" in description:
            graphs["model.int8.onnx"] = pipeline_graph(folder, "int8")
    except EngineError as problem:
        raise ModelUnavailable(str(problem)) from problem
    return graphs


def _model_description(version: TrainingVersion) -> dict[str, Any]:
    from training.engine.bundle.bundle import SELF_TEST_TOLERANCES

    bundle = load_model(version)
    return {
        "version": version.name,
        "project": version.project.name,
        "labels": list(bundle.labels),
        "is_multi_label": bundle.is_multi_label,
        "thresholds": list(bundle.thresholds),
        "settings": version.answer_settings,
        "number_format": bundle.number_format,
        "tolerance": SELF_TEST_TOLERANCES[bundle.number_format],
        "side": bundle.description["preprocessing"]["side"],
        "max_megapixels": settings.EXEML_MAX_IMAGE_MEGAPIXELS,
    }


def _images_to_compare(version: TrainingVersion) -> list[tuple[EvaluatedImage, bytes]]:
    """Evaluated images with their bytes, spread evenly; images without a file are left out."""
    images = version.evaluated_images.exclude(image=None).select_related("image").order_by("pk")
    count = images.count()
    stride = max(1, count // COMPARED_COUNT)
    compared = []
    for evaluated in list(images)[::stride][:COMPARED_COUNT]:
        try:
            compared.append(
                (
                    evaluated,
                    storage.local_path(evaluated.image.file_name if evaluated.image else "").read_bytes(),
                )
            )
        except OSError:
            continue
    return compared


def _run_exported_model(folder: Path, images: list[bytes]) -> list[Any]:
    """The scores from the exported program, run on the exported files."""
    model = _load_program("model").Model(folder, threads=settings.EXEML_ENGINE_THREADS or None)
    return [model.outputs(image)[0] for image in images]


def _load_program(name: str) -> ModuleType:
    sys.modules.update(BESIDE)
    spec = util.spec_from_file_location(f"exported_{name}", KIT / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _compare_scores(compared: list[tuple[EvaluatedImage, bytes]], exported: list[Any]) -> dict[str, Any]:
    """Compare the scores with those stored in the evaluation."""
    pairs = [
        (np.asarray(evaluated.scores), scores)
        for (evaluated, _), scores in zip(compared, exported, strict=True)
        if len(evaluated.scores) == len(scores)
    ]
    gaps = [float(np.abs(stored - scores).max()) for stored, scores in pairs]
    same = sum(int(stored.argmax()) == int(scores.argmax()) for stored, scores in pairs)
    return {"images": len(pairs), "largest_difference": max(gaps, default=0.0), "same_top1": same}

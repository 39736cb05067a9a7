"""Export: the whole model as one graph, programs that need no Django, a server of the same API."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from PIL import Image as Picture

from projects.images import upload
from projects.images.decode import load_normalized
from projects.models import Project
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from tests.pictures import KINDS
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.decision import AnswerSettings
from training.engine.bundle.onnx_pipeline import pipeline_graph
from training.engine.config import Sample
from training.engine.evaluation.evaluate import evaluate
from training.jobs import record
from training.models import Status, TrainingVersion
from training.serving.download import onnx_export
from training.serving.inference import predictor
from training.versions import answer_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def fitted(db: None, tiny_bundle: Path, tiny_samples: list[Sample]) -> Iterator[TrainingVersion]:
    """A Completed version with a really fitted model, its evaluation and its images."""
    project = make_project("flowers", labels=0, images=0)
    version = make_version(project, 1, Status.COMPLETED, model_name="exeML-flowers-V001")
    folder = Path(default_storage.path(version.folder))
    shutil.copytree(tiny_bundle, folder / "bundle")
    samples = [_stored(project, sample) for sample in tiny_samples]
    evaluation = evaluate(tiny_bundle, samples)
    record.record(version, evaluation.labels, evaluation.predictions, [])
    yield version
    shutil.rmtree(folder)


def _stored(project: Project, sample: Sample) -> Sample:
    """The sample as an image of the project; all of them are evaluated, so that there are enough."""
    file = io.BytesIO(sample.path.read_bytes())
    file.name = sample.path.name
    (outcome,) = upload.add_images(project, [file], make_user("alice"))
    return Sample(str(outcome.image.pk), sample.path, sample.labels, "EVAL")


@pytest.fixture
def unpacked(fitted: TrainingVersion, tmp_path: Path) -> Path:
    onnx_export.make(fitted.pk)
    fitted.refresh_from_db()
    assert fitted.export["state"] == "made", fitted.export
    with default_storage.open(onnx_export.stored_name(fitted)) as file:
        zipfile.ZipFile(io.BytesIO(file.read())).extractall(tmp_path)
    return tmp_path / "exeML-flowers-V001"


def pictures() -> Iterator[tuple[str, Picture.Image]]:
    """Sizes and shapes that the window and the reduction treat differently."""
    noise = np.random.default_rng(1)
    for size in ((97, 61), (640, 480), (1200, 300), (200, 900), (32, 32), (501, 500)):
        small = noise.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        yield f"{size}", Picture.fromarray(small).resize(size, Picture.Resampling.BICUBIC)


def test_the_graph_sees_what_the_bundle_sees_and_answers_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle, folder = Bundle.load(tiny_bundle, 2), tmp_path
    (folder / "model.onnx").write_bytes(pipeline_graph(tiny_bundle))
    about = {
        "labels": list(bundle.labels),
        "is_multi_label": False,
        "thresholds": [0.5] * 3,
        "version": "V001",
        "side": bundle.description["preprocessing"]["side"],
        "max_megapixels": 50,
    }
    (folder / "model.json").write_text(json.dumps(about))
    model = onnx_export._load_program("model").Model(folder)
    for name, picture in pictures():
        out = io.BytesIO()
        picture.save(out, "PNG")
        expected = bundle.answer(out.getvalue())
        scores, is_known, familiarity = model.outputs(out.getvalue())
        assert np.abs(scores - expected.scores).max() < 0.02, name
        assert is_known == expected.novelty_score.is_known, name
        assert familiarity == pytest.approx(expected.novelty_score.familiarity, abs=0.05), name
    for kind, content in KINDS.items():  # what the page shows is what the exported program sees
        assert np.array_equal(model._pixels(content), np.asarray(load_normalized(content))), kind


def test_the_selftest_of_the_folder_agrees_and_finds_a_wrong_model(unpacked: Path) -> None:
    def selftest() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "selftest.py"]
        return subprocess.run(command, cwd=unpacked, capture_output=True, text=True, timeout=120, check=False)

    done = selftest()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 of 8 pictures agree." in done.stdout
    expected = json.loads((unpacked / "samples" / "expected.json").read_text())
    expected[0]["scores"] = expected[0]["scores"][::-1]
    (unpacked / "samples" / "expected.json").write_text(json.dumps(expected))
    done = selftest()
    assert done.returncode == 1 and "DIFFERS" in done.stdout


def test_the_programs_need_nothing_of_ours_and_the_image_is_described(unpacked: Path) -> None:
    for name in (*onnx_export.PROGRAMS, "decision.py", "picture.py", "picture_formats.py"):
        text = (unpacked / name).read_text()
        assert "django" not in text.lower() and "from training" not in text and "from projects" not in text
    required = (unpacked / "requirements.txt").read_text()
    names = sorted(line.partition("==")[0] for line in required.split())
    assert names == ["Pillow", "numpy", "onnxruntime", "pillow-heif"]
    assert "python selftest.py" in (unpacked / "Dockerfile").read_text()


def test_parity_with_the_stored_scores_is_kept(unpacked: Path, fitted: TrainingVersion, vera: Client) -> None:
    parity = fitted.export["parity"]
    assert parity["images"] == parity["same_top1"] == 18 and parity["largest_difference"] < 0.02
    page = html_of(vera.get(reverse("version_export", args=[fitted.project_id, 1])))
    assert "same label for 18 of 18 images" in page and "hx-trigger" not in page
    answer = vera.get(reverse("download_export", args=[fitted.project_id, 1]))
    assert "attachment" in answer["Content-Disposition"] and answer.getvalue()[:2] == b"PK"


def test_asking_hands_the_work_over_and_a_missing_model_is_told(
    fitted: TrainingVersion, vera: Client
) -> None:
    address = reverse("version_export", args=[fitted.project_id, 1])
    page = html_of(vera.post(address, headers={"HX-Request": "true"}))
    assert "Exporting" in page and 'hx-trigger="every 2s"' in page
    shutil.rmtree(Path(default_storage.path(f"{fitted.folder}/bundle")))
    onnx_export.make(fitted.pk)
    assert "cannot be loaded" in html_of(vera.get(address))


@pytest.fixture
def server(unpacked: Path) -> Iterator[str]:
    """The exported server on a free port."""
    environment = os.environ | {"PORT": "0", "TOKEN": "secret", "MAX_IMAGE_MB": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "server.py"], cwd=unpacked, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = process.stdout.readline().rsplit(" ", 1)[1].strip()
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(20) == 0


def ask(
    server: str, *contents: bytes, token: str = "secret", kind: str = "multipart/form-data; boundary=xyz"
) -> tuple[int, dict[str, object]]:
    head = b'--xyz\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    body = b"".join(head + content + b"\r\n" for content in contents) + b"--xyz--\r\n"
    headers = {"Content-Type": kind, "X-Auth-Token": token}
    request = urllib.request.Request(f"{server}/v1/infers/model", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as problem:
        return problem.code, json.loads(problem.read())


def test_the_exported_server_answers_as_the_service(
    server: str, fitted: TrainingVersion, tiny_samples: list[Sample]
) -> None:
    by_name = {
        evaluated.image.name: evaluated for evaluated in fitted.evaluated_images.select_related("image")
    }
    labels = fitted.confusion["labels"]
    for sample in tiny_samples[::5]:
        status, answer = ask(server, sample.path.read_bytes())
        stored = by_name[sample.path.name]
        assert status == 200 and answer["predicted_label"] == stored.predicted[0]
        expected = dict(zip(labels, stored.scores, strict=True))
        assert dict(answer["scores"]) == pytest.approx(expected, abs=0.02)
        assert answer["version"] == "V001" and answer["is_known"] == stored.is_known
    status, several = ask(server, *(sample.path.read_bytes() for sample in tiny_samples[:3]))
    assert status == 200 and len(several["results"]) == 3


def test_with_a_minimum_familiarity_the_exported_program_calls_the_same_images_unknown(
    fitted: TrainingVersion, tiny_samples: list[Sample], tmp_path: Path
) -> None:
    values = sorted(row.familiarity for row in fitted.evaluated_images.all())
    below = int(np.argmax(np.diff(values)))  # the widest gap: no difference of decoders decides
    settings = AnswerSettings(min_familiarity=(values[below] + values[below + 1]) / 2)
    answer_settings.save(fitted, settings, make_user("alice"))
    (tmp_path / "model.onnx").write_bytes(
        pipeline_graph(Path(default_storage.path(f"{fitted.folder}/bundle")))
    )
    (tmp_path / "model.json").write_text(json.dumps(onnx_export._model_description(fitted)))
    model = onnx_export._load_program("model").Model(tmp_path)
    known = []
    for sample in tiny_samples:
        content = sample.path.read_bytes()
        answer = predictor.predict(fitted, content, settings).as_json()
        of_program = model.predict(content)
        for name in ("predicted_label", "predicted_labels", "is_known", "settings"):
            assert of_program[name] == answer[name], sample.path.name
        known.append(answer["is_known"])
    assert known.count(False) == below + 1


def test_the_exported_server_refuses_as_the_service(server: str) -> None:
    responses = [
        ask(server, b"hello", token="wrong"),
        ask(server, b"hello"),
        ask(server),
        ask(server, b"hello", kind="image/png"),
        ask(server, bytes(5 * 1024 * 1024)),
        ask(server, bytes(1024 * 1024 + 1)),
        ask(server, *[b"x"] * 33),
    ]
    assert [(status, answer["error_code"]) for status, answer in responses] == [
        (401, "TOKEN_WRONG"),
        (400, "IMAGE_UNREADABLE"),
        (400, "IMAGE_MISSING"),
        (415, "NOT_MULTIPART"),
        (413, "IMAGE_TOO_LARGE"),
        (413, "IMAGE_TOO_LARGE"),
        (400, "TOO_MANY_IMAGES"),
    ]
    chunks = {"Content-Type": "multipart/form-data; boundary=x", "X-Auth-Token": "secret"}
    for headers in (chunks | {"Transfer-Encoding": "chunked"}, chunks | {"Content-Length": "-1"}):
        connection = http.client.HTTPConnection(urlsplit(server).netloc, timeout=30)
        connection.request("POST", "/v1/infers/model", headers=headers)  # the answer comes before the body
        assert connection.getresponse().status == 411
        connection.close()
    with urllib.request.urlopen(f"{server}/health", timeout=30) as answer:
        assert json.loads(answer.read()) == {"status": "Running", "version": "V001"}

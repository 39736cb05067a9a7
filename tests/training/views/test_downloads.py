"""Take it along: a report that needs nothing else, and a zip whose command computes the numbers again."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from exeml_site.lib import storage
from exeml_site.lib.display import iso_time, percent
from tests.factories import make_project, make_user, make_version
from tests.training.views.test_evaluation import LABELS, predictions
from training.engine.bundle.decision import AnswerSettings, DecisionRule
from training.evaluation.answer_figures import figures_under, stored_predictions
from training.evaluation.plots import charts
from training.jobs import record
from training.models import Status, TrainingVersion
from training.versions import answer_settings

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(tiny_bundle: Path) -> Iterator[TrainingVersion]:
    """A version with numbers, charts and a really fitted model."""
    project = make_project("flowers & <bees>", labels=2, images=20, with_files=True)
    version = make_version(project, 1, Status.COMPLETED, progress={"charts": ["confusion-matrix"]})
    evaluation = record.record(version, LABELS, predictions(project), [])
    drawn = charts.render(evaluation, [[1, 0.5], [9, 0.9]], [], 500)
    storage.save_whole(f"{version.folder}/charts/confusion-matrix.svg", drawn["confusion-matrix"])
    folder = Path(default_storage.path(version.folder))
    shutil.copytree(tiny_bundle, folder / "bundle")
    yield version
    shutil.rmtree(folder)


def fetch(client: Client, version: TrainingVersion, view: str) -> bytes:
    answer = client.get(reverse(view, args=[version.project_id, version.number]))
    assert answer.status_code == 200 and "attachment" in answer["Content-Disposition"]
    return answer.getvalue()


def test_the_report_holds_numbers_charts_and_pictures_and_asks_for_nothing(
    version: TrainingVersion, vera: Client
) -> None:
    html = " ".join(fetch(vera, version, "version_report").decode().split())
    accuracy = version.metrics.get(label="", name="accuracy")
    assert percent(accuracy.value) in html
    assert f"{accuracy.hits} of {accuracy.support} validation images right" in html
    assert "<svg" in html and "data:image/webp;base64," in html
    assert "flowers &amp; &lt;bees&gt;" in html and "<bees>" not in html
    outside = re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", html)
    assert outside == [] and "<script" not in html and "<link" not in html


def test_the_report_speaks_of_parameters_in_words_and_of_times_in_iso_8601(
    version: TrainingVersion, vera: Client
) -> None:
    version.seconds_by_phase = {"pixels": 3.1, "fine-tuning": 200}
    version.save()
    html = " ".join(fetch(vera, version, "version_report").decode().split())
    for row in ("<th>Max. Inference Duration</th> <td>500 ms</td>", "<td>Fine-tuning</td>"):
        assert row in html
    assert f"<th>End Time</th> <td>{iso_time(version.finished_at)}</td>" in html
    assert "max_inference_ms" not in html and "seconds_by_phase" not in html and "{&#x27;" not in html


def test_the_numbers_can_be_downloaded_as_json(version: TrainingVersion, vera: Client) -> None:
    found = json.loads(fetch(vera, version, "version_json"))
    assert found["parameters"]["max_inference_ms"] == 500
    assert found["labels"] == list(LABELS) and found["confusion"] == version.confusion["matrix"]
    assert len(found["metrics"]) == version.metrics.count()


@pytest.fixture
def unpacked(version: TrainingVersion, vera: Client, tmp_path: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(fetch(vera, version, "version_archive"))) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    return tmp_path


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "verify.py"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_one_command_computes_every_number_again_and_asks_the_model(
    version: TrainingVersion, unpacked: Path
) -> None:
    done = verify(unpacked)
    count = version.metrics.count()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{count} of {count} metrics agree." in done.stdout
    difference = re.search(r"largest difference of a score ([\d.]+)\.", done.stdout)
    assert difference and float(difference[1]) < 0.001
    names = {path.name for path in unpacked.iterdir()}
    assert {"report.html", "parameters.json", "environment.json", "predictions.jsonl", "bundle"} <= names
    assert not (unpacked / "bundle" / "weights.pt").exists()


def test_a_changed_prediction_is_found(unpacked: Path) -> None:
    lines = (unpacked / "predictions.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first["predicted"] = [next(label for label in LABELS if label not in first["predicted"])]
    (unpacked / "predictions.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]))
    done = verify(unpacked)
    assert done.returncode == 1 and "DIFFERS overall accuracy" in done.stdout


def test_stored_answer_settings_are_in_report_and_archive_and_their_figures_are_computed_again(
    version: TrainingVersion, vera: Client, tmp_path: Path
) -> None:
    settings = AnswerSettings(min_confidence=0.45, min_familiarity=0.2)
    answer_settings.save(version, settings, make_user("alice"))
    assert f"saved answer settings: {settings.text}" in " ".join(
        fetch(vera, version, "version_report").decode().split()
    )
    with zipfile.ZipFile(io.BytesIO(fetch(vera, version, "version_archive"))) as archive:
        archive.extractall(tmp_path)
    done = verify(tmp_path)
    assert done.returncode == 0 and f"Answer settings ({settings.text}): agree." in done.stdout, done.stdout
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert answers["settings"] == settings.as_json()
    predictions = stored_predictions(version)
    rule = DecisionRule(predictions.labels, False, (0.0, 0.0, 0.0))
    figures = figures_under(rule, predictions, settings)
    assert answers["figures"]["answered"] == {"hits": figures.answered.hits, "support": len(predictions)}
    answers["settings"] = {"min_confidence": 0.9}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    done = verify(tmp_path)
    assert done.returncode == 1 and "Answer settings (min. confidence 0.900): DIFFER." in done.stdout


def test_a_version_without_a_model_is_packed_without_it(version: TrainingVersion, vera: Client) -> None:
    shutil.rmtree(Path(default_storage.path(version.folder)) / "bundle")
    with zipfile.ZipFile(io.BytesIO(fetch(vera, version, "version_archive"))) as archive:
        assert "evaluation.json" in archive.namelist() and "selftest.npz" not in archive.namelist()

"""Answer settings of a service: taken over, changed, kept for each version, stated by every answer."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from PIL import Image as Picture

from projects.images import upload
from projects.models import Project
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from tests.training.bundles import COLOURS, colour_picture, give_bundle
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.decision import OWN, AnswerSettings
from training.engine.bundle.onnx_pipeline import pipeline_graph
from training.engine.config import Sample
from training.engine.evaluation.evaluate import evaluate
from training.evaluation.answer_figures import figures_under, stored_predictions
from training.jobs import record
from training.models import EvaluatedImage, Service, Status, TrainingVersion
from training.serving import deploy, rollout
from training.serving.batches import job, results
from training.serving.calls import counters, drift, feedback
from training.serving.calls.dashboard import CallTotals
from training.serving.download import onnx_export
from training.serving.inference.model_cache import decision_rule
from training.versions import answer_settings

CAREFUL = AnswerSettings(min_confidence=0.999)  # the colour bundle is less certain of every picture


@pytest.fixture
def newer(project: Project) -> Iterator[TrainingVersion]:
    """V002 with a model and settings of its own."""
    version = make_version(project, 2, Status.COMPLETED, accuracy=0.96)
    give_bundle(version)
    answer_settings.save(version, AnswerSettings(min_confidence=0.2), make_user("alice"))
    yield version
    shutil.rmtree(default_storage.path(version.folder), ignore_errors=True)


def called(service: Service, token: str, name: str = "red") -> dict[str, Any]:
    body = {"images": SimpleUploadedFile("photo.png", colour_picture(name))}
    response = Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token})
    assert response.status_code == 200
    return dict(response.json())


def change(client: Client, service: Service, number: int = 1, **fields: str) -> HttpResponse:
    data = {f"answers-{number}-{name}": value for name, value in fields.items() if name != "use"}
    data |= {"use": fields["use"]} if "use" in fields else {}
    return client.post(reverse("change_answer_settings", args=[service.project_id, service.pk, number]), data)


def settle(service: Service) -> None:
    """What the worker does."""
    rollout.change_over(str(service.pk))
    service.refresh_from_db()


def running(version: TrainingVersion) -> tuple[Service, str]:
    service, token = deploy.deploy(version, make_user("alice"), 1)
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    return service, token.plain


def test_a_service_takes_over_the_stored_settings_and_every_answer_states_them(
    version: TrainingVersion,
) -> None:
    answer_settings.save(version, CAREFUL, make_user("alice"))
    service, token = running(version)
    answer = called(service, token)
    assert answer["settings"] == {"min_confidence": 0.999, "min_familiarity": None}
    assert (answer["predicted_label"], answer["predicted_labels"], answer["is_known"]) == ("red", [], False)
    counters.flush()
    service.refresh_from_db()
    assert (service.calls, service.unknown_pictures) == (1, 1)
    first = service.events.order_by("pk").first()
    assert first.message == "Deploying V001 with min. confidence 0.999."
    answer_settings.reset(version, make_user("alice"))
    assert called(service, token)["predicted_labels"] == []  # what runs does not change by itself


def test_a_manager_changes_them_for_one_service_from_the_next_call_on(
    opened: tuple[Service, str], version: TrainingVersion, alice: Client, bob: Client
) -> None:
    service, token = opened
    assert called(service, token)["predicted_labels"] == ["red"]
    assert change(bob, service, min_confidence="0.9").status_code == 403
    assert change(alice, service, min_confidence="0.999").status_code == 303
    assert called(service, token)["predicted_labels"] == []
    service.refresh_from_db()
    event = service.events.first()
    assert event.message == "V001 answers with min. confidence 0.999." and event.by == make_user("alice")
    version.refresh_from_db()
    assert version.answer_settings == {} and "(not those saved with V001)" in html_of(
        alice.get(reverse("service_page", args=[service.project_id, service.pk]))
    )
    change(alice, service, use="version")
    assert called(service, token)["predicted_labels"] == ["red"]
    assert service.events.first().message == "V001 answers with the model’s own settings."
    events = service.events.count()
    change(alice, service, use="version")
    assert service.events.count() == events  # nothing changed, nothing is recorded


@pytest.mark.parametrize(
    ("name", "value"), [("min_confidence", "1.5"), ("min_confidence", "x"), ("threshold:red", "0.5")]
)
def test_what_is_no_setting_of_the_version_is_refused(
    opened: tuple[Service, str], alice: Client, name: str, value: str
) -> None:
    service = opened[0]
    answer = change(alice, service, **{name: value})
    assert answer.status_code == 422
    page = html_of(answer)
    assert "Enter a number from 0 to 1" in page or "does not know the label “red”" in page
    assert change(alice, service, number=7, min_confidence="0.5").status_code == 404
    service.refresh_from_db()
    assert answer_settings.settings_in(service, service.training_version) == OWN


def test_each_version_keeps_its_settings_through_a_change_and_a_roll_back(
    opened: tuple[Service, str], newer: TrainingVersion, alice: Client
) -> None:
    service, token = opened
    change(alice, service, min_confidence="0.999")
    rollout.change_version(service, newer, make_user("alice"))
    settle(service)
    assert service.events.first().message == "V002 answers in place of V001 with min. confidence 0.200."
    assert called(service, token)["settings"]["min_confidence"] == 0.2
    answer_settings.save(newer, CAREFUL, make_user("alice"))
    rollout.roll_back(service, make_user("alice"))
    settle(service)
    assert called(service, token)["settings"]["min_confidence"] == 0.999
    rollout.roll_back(service, make_user("alice"))
    settle(service)
    assert called(service, token)["settings"]["min_confidence"] == 0.2


def test_a_canary_answers_with_its_own_settings(
    opened: tuple[Service, str], newer: TrainingVersion, alice: Client
) -> None:
    service, token = opened
    rollout.change_version(service, newer, make_user("alice"), percent=60)
    settle(service)
    change(alice, service, number=2, min_confidence="0.999")
    answers = [called(service, token) for _ in range(24)]
    stated = {(answer["version"], answer["settings"]["min_confidence"]) for answer in answers}
    assert stated == {("V001", 0.0), ("V002", 0.999)}


def test_a_batch_keeps_the_settings_with_which_it_began(opened: tuple[Service, str], alice: Client) -> None:
    service = opened[0]
    change(alice, service, min_confidence="0.999")
    service.refresh_from_db()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("red.png", colour_picture("red"))
    batch = job.create_batch(
        service, [SimpleUploadedFile("pictures.zip", out.getvalue())], "", make_user("bob")
    )
    change(alice, service, min_confidence="")
    job.run(batch.pk)
    (line,) = results.read_results(batch)
    assert (line["predicted_labels"], line["is_known"]) == ([], False)
    assert line["settings"] == {"min_confidence": 0.999, "min_familiarity": None}
    content = b"".join(results.result_archive(batch))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        answer = json.loads(archive.read("red.png_result.txt"))
    assert answer["settings"]["min_confidence"] == 0.999 and answer["predicted_labels"] == []


def test_live_accuracy_is_counted_apart_for_each_settings(opened: tuple[Service, str], alice: Client) -> None:
    service, token = opened
    deploy.set_collecting(service, True, 30, make_user("alice"))
    for confidence in ("", "0.999"):
        change(alice, service, min_confidence=confidence)
        request_id = called(service, token)["request_id"]
        feedback.record_verdict(feedback.find_call(service, request_id), not confidence, ["red"], by="bob")
    live = [
        (one.settings.min_confidence, one.judged.hits, one.calls) for one in feedback.live_accuracy(service)
    ]
    assert live == [(0.0, 1, 1), (0.999, 0, 1)]


def test_drift_is_measured_against_the_evaluation_under_the_same_settings(version: TrainingVersion) -> None:
    """Images that the settings call unknown are no news if the evaluated ones would be unknown, too."""
    EvaluatedImage.objects.bulk_create(
        EvaluatedImage(
            training_version=version,
            truth=["red"],
            predicted=["red"],
            scores=[0.9, 0.1],
            confidence=0.9,
            is_correct=True,
            is_known=True,
        )
        for _ in range(60)
    )
    version.confusion = {"labels": ["red", "green"]}
    calls = CallTotals(calls=100, images=100, unknown=100, labels=Counter())
    calls.labels["red"] = 60
    own = drift.find_drift(version, calls)
    assert any("More images are unknown" in sentence for sentence in own.sentences)
    careful = drift.find_drift(version, calls, AnswerSettings(min_confidence=0.95))
    assert careful.sentences == []


# --- one rule everywhere ---

GREYS = [(shade, 255 - shade, 90) for shade in range(0, 250, 12)]


@pytest.fixture(params=[False, True], ids=["one label", "several labels"])
def judged(request: pytest.FixtureRequest, db: None) -> Iterator[tuple[TrainingVersion, list[bytes]]]:
    """A version that was evaluated on stored pictures, with settings that lie exactly at scores of some."""
    is_multi = request.param
    project = make_project("colours", labels=0, images=0, is_multi_label=is_multi)
    version = make_version(project, 1, Status.COMPLETED, model_name="colours")
    give_bundle(
        version, is_multi_label=is_multi, thresholds=np.linspace(0.05, 0.95, 37)[[5, 8, 10, 12, 3, 20]]
    )
    contents = [_png(colour) for colour in GREYS]
    samples = []
    for number, content in enumerate(contents):
        file = SimpleUploadedFile(f"{number}.png", content)
        (outcome,) = upload.add_images(project, [file], make_user("alice"))
        path = Path(default_storage.path(outcome.image.file_name))
        samples.append(Sample(str(outcome.image.pk), path, (list(COLOURS)[number % 6],), "EVAL"))
    folder = Path(default_storage.path(f"{version.folder}/bundle"))
    evaluation = evaluate(folder, samples)
    record.record(version, evaluation.labels, evaluation.predictions, [])
    first, second = (row.scores for row in version.evaluated_images.order_by("pk")[3:9:5])
    limits = (
        AnswerSettings({"red": first[0], "green": second[1]}) if is_multi else AnswerSettings({}, max(first))
    )
    answer_settings.save(version, limits, make_user("alice"))
    yield version, contents
    shutil.rmtree(default_storage.path(version.folder))


def _png(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Picture.new("RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()


def test_service_exported_program_and_evaluation_decide_alike(
    judged: tuple[TrainingVersion, list[bytes]], tmp_path: Path
) -> None:
    version, contents = judged
    settings = answer_settings.settings_of(version)
    service, token = running(version)
    (tmp_path / "model.onnx").write_bytes(
        pipeline_graph(Path(default_storage.path(f"{version.folder}/bundle")))
    )
    (tmp_path / "model.json").write_text(json.dumps(onnx_export._model_description(version)))
    exported = onnx_export._load_program("model").Model(tmp_path)
    rule, evaluated = decision_rule(version), version.evaluated_images.order_by("pk")
    decided = [rule.decide(row.scores, settings, row.is_known, row.familiarity) for row in evaluated]
    for content, expected in zip(contents, decided, strict=True):
        body = {"images": SimpleUploadedFile("a.png", content)}
        answer = Client().post(f"/v1/infers/{service.pk}", body, headers={"X-Auth-Token": token}).json()
        assert (tuple(answer["predicted_labels"]), answer["is_known"]) == (expected.labels, expected.is_known)
        of_program = exported.predict(content)
        same = ("predicted_label", "predicted_labels", "is_known", "settings", "version")
        assert {name: of_program[name] for name in same} == {name: answer[name] for name in same}
        bundle = Bundle.load(Path(default_storage.path(f"{version.folder}/bundle")))
        assert bundle.answer(content, settings).predicted_labels == expected.labels
    assert len({decision.labels for decision in decided}) > 2
    figures = figures_under(rule, stored_predictions(version), settings)
    truths = [set(row.truth) for row in evaluated]
    assert figures.exact.hits == sum(
        set(one.labels) == truth for one, truth in zip(decided, truths, strict=True)
    )


def test_the_programs_of_the_export_state_and_test_the_settings(
    judged: tuple[TrainingVersion, list[bytes]], tmp_path: Path
) -> None:
    version, _ = judged
    onnx_export.make(version.pk)
    version.refresh_from_db()
    assert version.export["state"] == "made", version.export
    with default_storage.open(onnx_export.stored_name(version)) as file:
        zipfile.ZipFile(io.BytesIO(file.read())).extractall(tmp_path)
    folder = tmp_path / "colours"

    def selftest() -> Any:
        command = [sys.executable, "selftest.py"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)

    done = selftest()
    settings = answer_settings.settings_of(version)
    assert done.returncode == 0 and f"Settings: {settings.text}." in done.stdout, done.stdout + done.stderr
    about = json.loads((folder / "model.json").read_text())
    assert about["settings"] == version.answer_settings
    expected = json.loads((folder / "samples" / "expected.json").read_text())
    other = [sample | {"labels": ["red", "grey"]} for sample in expected]
    (folder / "samples" / "expected.json").write_text(json.dumps(other))
    assert selftest().returncode == 1
    answer_settings.reset(version, make_user("alice"))
    assert version.export == {}  # the stored export has other settings

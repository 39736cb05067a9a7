"""Answers of models: right, the same as the evaluation's, loaded once, bounded in memory."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from projects.models import Project
from tests.factories import make_version
from tests.training.bundles import colour_picture, give_bundle
from training.models import Status, TrainingVersion
from training.serving.inference import model_cache, predictor


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> model_cache._ModelCache:
    """An empty one with room for two."""
    shelf = model_cache._ModelCache(2, 10**9)
    monkeypatch.setattr(model_cache, "_cache", shelf)
    return shelf


def test_the_five_best_labels_best_first(version: TrainingVersion) -> None:
    answer = predictor.predict(version, colour_picture("red"))
    scores = [score for _, score in answer.scores]
    assert answer.predicted_label == "red" and answer.predicted_labels == ("red",)
    assert len(answer.scores) == 5 and scores == sorted(scores, reverse=True)


def test_several_pictures_have_several_answers_in_order(version: TrainingVersion) -> None:
    answers = [predictor.predict(version, colour_picture(name)) for name in ("blue", "green", "yellow")]
    assert [answer.predicted_label for answer in answers] == ["blue", "green", "yellow"]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "WEBP"])
def test_the_answer_is_exactly_the_bundles_own(version: TrainingVersion, format: str) -> None:
    content = colour_picture("cyan", format=format, size=(300, 200))
    bundle = model_cache.load_model(version)
    answer = predictor.predict(version, content)
    expected = dict(zip(bundle.labels, bundle.predict([content])[0], strict=True))
    assert dict(answer.scores) == {label: float(expected[label]) for label, _ in answer.scores}


def test_several_labels_an_image(project: Project) -> None:
    version = make_version(project, status=Status.COMPLETED)
    give_bundle(version, is_multi_label=True)
    answer = predictor.predict(version, colour_picture("yellow"))
    assert set(answer.predicted_labels) == {"red", "green", "yellow", "cyan", "grey"}
    assert answer.as_json()["predicted_label"] == "yellow"
    assert answer.as_json()["predicted_labels"] == list(answer.predicted_labels)
    shutil.rmtree(default_storage.path(version.folder))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a picture"),
        (b"hello", "not a picture"),
        (b"GIF89a" + bytes(64), "a GIF picture"),
        (colour_picture("red", format="JPEG", size=(300, 300))[:700], "cannot be decoded"),
        (colour_picture("red")[:60], "cannot be decoded|broken"),
    ],
)
def test_what_does_not_decode_is_refused_with_a_sentence(
    version: TrainingVersion, content: bytes, words: str
) -> None:
    with pytest.raises(predictor.InvalidImage, match=words):
        predictor.predict(version, content)


def test_a_picture_of_too_many_pixels_is_refused(version: TrainingVersion, settings) -> None:
    settings.EXEML_MAX_IMAGE_MEGAPIXELS = 1
    with pytest.raises(predictor.InvalidImage, match="at most 1 megapixels"):
        predictor.predict(version, colour_picture("red", size=(1200, 1000)))


def test_a_missing_model_is_said_and_tried_again_next_time(version: TrainingVersion, shelf) -> None:
    folder, away = Path(default_storage.path(version.folder)), Path(default_storage.path("away"))
    folder.rename(away)
    with pytest.raises(model_cache.ModelUnavailable, match="files are missing"):
        predictor.predict(version, colour_picture("red"))
    away.rename(folder)
    assert predictor.predict(version, colour_picture("red")).predicted_label == "red"


def test_weights_for_training_are_not_read(version: TrainingVersion) -> None:
    (Path(default_storage.path(version.folder)) / "bundle" / "weights.pt").write_bytes(bytes(10_000_000))
    _, size_bytes = model_cache._local_folder(f"{version.folder}/bundle")
    assert size_bytes < 100_000


def test_a_model_is_loaded_once_however_many_ask_at_once(
    version: TrainingVersion, shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = model_cache._load_bundle
    monkeypatch.setattr(model_cache, "_load_bundle", lambda one: reads.append(one.pk) or read(one))
    begin = threading.Barrier(8)

    def ask(name: str) -> str:
        begin.wait()
        return predictor.predict(version, colour_picture(name)).predicted_label

    names = ["red", "green", "blue", "yellow", "cyan", "red", "green", "blue"]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, names)) == names
    assert reads == [version.pk]


def test_the_shelf_drops_the_model_used_longest_ago(project: Project, shelf) -> None:
    versions = [make_version(project, number, Status.COMPLETED) for number in (1, 2, 3)]
    for version in versions:
        give_bundle(version)
    first, second, third = versions
    for version in (first, second, first, third):
        model_cache.load_model(version)
    assert list(shelf._places) == [first.job_id, third.job_id]
    for version in versions:
        shutil.rmtree(default_storage.path(version.folder))


def test_one_model_stays_however_large(version: TrainingVersion, shelf) -> None:
    shelf.most_bytes = 1
    model_cache.load_model(version)
    assert list(shelf._places) == [version.job_id]


def test_scores_in_json_are_numbers_of_six_digits() -> None:
    answer = predictor.Answer((("a", 0.123456789), ("b", 1e-9)), ("a",), False)
    assert answer.as_json()["scores"] == [["a", 0.123457], ["b", 0.0]]

"""Answers of models: right, the same as the evaluation's, loaded once, bounded in memory."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from PIL import Image as Picture

from projects.images.decode import load_normalized
from projects.models import Project
from tests.factories import make_version
from tests.pictures import KINDS, saved
from tests.training.bundles import colour_picture, give_bundle
from training.engine.bundle.bundle import Bundle
from training.models import Status, TrainingVersion
from training.serving.inference import model_cache, predictor
from training.serving.inference.model_cache import MAX_BYTES, MAX_MODELS


@pytest.fixture
def empty_cache() -> None:
    """As in a process that was started just now."""
    model_cache._cache.clear()


def test_the_five_best_labels_best_first(version: TrainingVersion) -> None:
    answer = predictor.predict(version, colour_picture("red"))
    scores = [score for _, score in answer.scores]
    assert answer.predicted_label == "red" and answer.predicted_labels == ("red",)
    assert len(answer.scores) == 5 and scores == sorted(scores, reverse=True)


def test_several_pictures_have_several_answers_in_order(version: TrainingVersion) -> None:
    answers = [predictor.predict(version, colour_picture(name)) for name in ("blue", "green", "yellow")]
    assert [answer.predicted_label for answer in answers] == ["blue", "green", "yellow"]


@pytest.mark.parametrize("name", KINDS)
def test_the_answer_is_that_for_the_normalized_picture(version: TrainingVersion, name: str) -> None:
    """What the page shows is what the model sees: every kind of file, and its normalized picture as PNG."""
    shown = saved(load_normalized(KINDS[name]), "PNG")
    assert predictor.predict(version, KINDS[name]).scores == predictor.predict(version, shown).scores


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "WEBP"])
def test_the_answer_is_exactly_the_bundles_own(version: TrainingVersion, format: str) -> None:
    content = colour_picture("cyan", format=format, size=(300, 200))
    bundle = model_cache.load_model(version)
    answer = predictor.predict(version, content)
    expected = dict(zip(bundle.labels, bundle.predict([content])[0], strict=True))
    assert dict(answer.scores) == {label: float(expected[label]) for label, _ in answer.scores}


def test_a_model_for_many_images_at_once_gives_the_same_answers(version: TrainingVersion) -> None:
    content = colour_picture("cyan", size=(300, 200))
    expected = predictor.predict(version, content).scores
    model_cache._cache.clear()
    model = model_cache.load_model(version, streams=2)
    assert model._network._quick.get_property("NUM_STREAMS") == 2
    assert model_cache.load_model(version) is model
    assert predictor.predict(version, content).scores == expected
    model_cache._cache.clear()


def test_several_labels_an_image(project: Project) -> None:
    version = make_version(project, status=Status.COMPLETED)
    give_bundle(version, is_multi_label=True)
    answer = predictor.predict(version, colour_picture("yellow"))
    assert set(answer.predicted_labels) == {"red", "green", "yellow", "cyan", "grey"}
    assert answer.as_json()["predicted_label"] == "yellow"
    assert answer.as_json()["predicted_labels"] == list(answer.predicted_labels)
    shutil.rmtree(default_storage.path(version.folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture"),
        (b"hello", "not a picture"),
        (b"GIF89a" + bytes(64), "This GIF picture is damaged"),
        (b"8BPS\0\1" + bytes(64), "a Photoshop file. Use JPEG, PNG"),
        (colour_picture("red", format="JPEG", size=(300, 300))[:700], "cannot be decoded"),
        (colour_picture("red")[:60], "cannot be decoded|broken"),
    ],
)
def test_what_does_not_decode_is_refused_with_a_sentence(
    version: TrainingVersion, content: bytes, message: str
) -> None:
    with pytest.raises(predictor.InvalidImage, match=message):
        predictor.predict(version, content)


def test_a_picture_of_too_many_pixels_is_refused(version: TrainingVersion, settings) -> None:
    settings.EXEML_MAX_IMAGE_MEGAPIXELS = 1
    with pytest.raises(predictor.InvalidImage, match="at most 1 megapixels"):
        predictor.predict(version, colour_picture("red", size=(1200, 1000)))


def test_a_missing_model_is_said_and_tried_again_next_time(
    version: TrainingVersion, empty_cache: None
) -> None:
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


def test_a_model_is_loaded_once_however_many_ask_at_once(version: TrainingVersion, empty_cache: None) -> None:
    begin = threading.Barrier(8)

    def ask(name: str) -> Bundle:
        begin.wait()
        assert predictor.predict(version, colour_picture(name)).predicted_label == name
        return model_cache.load_model(version)

    names = ["red", "green", "blue", "yellow", "cyan", "red", "green", "blue"]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(id, pool.map(ask, names)))) == 1


def test_the_model_used_longest_ago_is_dropped(project: Project, empty_cache: None) -> None:
    versions = [make_version(project, 1 + number, Status.COMPLETED) for number in range(MAX_MODELS + 1)]
    for version in versions:
        give_bundle(version)
    first, *others = (model_cache.load_model(version) for version in versions[:-1])
    assert model_cache.load_model(versions[0]) is first
    model_cache.load_model(versions[-1])
    again = [model_cache.load_model(version) for version in (versions[0], *versions[2:-1])]
    assert all(model is other for model, other in zip(again, [first, *others[1:]], strict=True))
    assert model_cache.load_model(versions[1]) is not others[0]
    for version in versions:
        shutil.rmtree(default_storage.path(version.folder))


def test_a_model_larger_than_the_limit_stays_alone(version: TrainingVersion, empty_cache: None) -> None:
    other = make_version(version.project, version.number + 1, Status.COMPLETED)
    give_bundle(other)
    model_cache.load_model(other)
    with (Path(default_storage.path(version.folder)) / "bundle" / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on the disk
    assert model_cache.load_model(version) is model_cache.load_model(version)
    assert list(model_cache._cache) == [(version.job_id, "float32")]
    shutil.rmtree(default_storage.path(other.folder))


def test_of_equal_scores_the_first_label_is_predicted_and_named_first(version: TrainingVersion) -> None:
    answer = predictor.predict(version, saved(Picture.new("RGB", (40, 30)), "PNG"))  # black: all scores equal
    assert len({score for _, score in answer.scores}) == 1
    assert answer.predicted_label == "red" and answer.predicted_labels == ("red",)


def test_scores_in_json_are_numbers_of_six_digits() -> None:
    answer = predictor.Answer((("a", 0.123456789), ("b", 1e-9)), ("a",), False)
    assert answer.as_json()["scores"] == [["a", 0.123457], ["b", 0.0]]

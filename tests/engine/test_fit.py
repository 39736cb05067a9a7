"""A fit with the smallest network on generated images: files, events, limits, stopping, resuming."""

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.generated_images import Diary, make_samples, paint, quick_config
from training.engine import EngineError, Event, FitResult, Sample, StoppedBeforeModel
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.writer import hash_ids, read_members, read_trained_on
from training.engine.evaluation.evaluate import evaluate
from training.engine.fit import fit
from training.engine.search import budget
from training.engine.search.candidate_store import restore_candidate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_int8")]  # `whole` has one, where there is time


def head_only(samples: list[Sample], workdir: Path, **changes: object) -> FitResult:
    """Stops as soon as the first model exists."""
    diary = Diary(stop_after="best")
    return fit(samples, quick_config(**changes), workdir, diary, diary.should_stop)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def whole(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> tuple[FitResult, Diary]:
    diary = Diary()
    config = quick_config(max_seconds=25)
    return fit(samples, config, tmp_path_factory.mktemp("whole"), diary, lambda: False), diary


def test_a_whole_fit_learns_and_ends(whole: tuple[FitResult, Diary], samples: list[Sample]) -> None:
    result, _ = whole
    assert result.stop_reason in ("converged", "time limit")
    assert result.labels == ("blue", "red")
    report = evaluate(result.bundle, [one for one in samples if one.split == "EVAL"]).report
    assert report.accuracy.value is not None
    assert report.accuracy.value > 0.8
    assert report.n == 8


def test_a_whole_fit_leaves_these_files(whole: tuple[FitResult, Diary]) -> None:
    workdir = whole[0].bundle.parent
    assert {path.name for path in workdir.iterdir()} == {
        "bundle",
        "candidates.pt",
        "checkpoint",
        "config.json",
        "events.jsonl",
    }
    files = {"bundle.json", "known.npz", "model.onnx", "weights.pt"}
    found = {path.name for path in whole[0].bundle.iterdir()}
    assert found - {"model.int8.onnx"} == files  # there is time for it on a quick machine


def test_events_come_in_order_and_are_kept(whole: tuple[FitResult, Diary]) -> None:
    result, diary = whole
    kinds = [event.kind for event in diary.events]
    assert kinds[0] == "phase"
    assert kinds.index("phase") < kinds.index("best")
    assert [e.elapsed_s for e in diary.events] == sorted(e.elapsed_s for e in diary.events)
    lines = (result.bundle.parent / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == kinds


def test_exactly_one_candidate_is_the_best(whole: tuple[FitResult, Diary]) -> None:
    assert [one for one in whole[0].candidates if one.is_best] == [whole[0].best]


def test_a_reloaded_bundle_answers_the_same(whole: tuple[FitResult, Diary], samples: list[Sample]) -> None:
    paths = [one.path for one in samples[:4]]
    bundle = Bundle.load(whole[0].bundle)
    bundle.self_test()
    scores = bundle.predict(paths)
    assert scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(scores, Bundle.load(whole[0].bundle).predict(paths))
    assert np.array_equal(scores[1], bundle.predict_one(paths[1].read_bytes()))


def test_the_best_restored_from_the_kept_candidates_is_the_same_model(
    whole: tuple[FitResult, Diary], samples: list[Sample], tmp_path: Path
) -> None:
    result, paths = whole[0], [one.path for one in samples]
    assert result.candidates_file is not None and result.best.place is not None
    restored, report = restore_candidate(
        result.candidates_file, result.best.place, tmp_path / "again", paths[:2], 2
    )
    first, again = Bundle.load(result.bundle), Bundle.load(tmp_path / "again")
    assert report == replace(result.best, place=None)
    assert np.allclose(first.predict(paths), again.predict(paths), atol=1e-6)
    assert (again.labels, restored.labels) == (first.labels, first.labels)
    assert again.description["unknown"] == first.description["unknown"]
    assert set(read_trained_on(tmp_path / "again")) == set(read_trained_on(result.bundle))


def test_every_candidate_that_has_an_accuracy_can_be_restored_and_answers_for_itself(
    samples: list[Sample], tmp_path: Path
) -> None:
    config = quick_config(max_seconds=90, max_inference_ms=6.7)  # three networks and what is made of them
    diary = Diary()

    def is_one_tuned() -> bool:
        told = [event.candidate for event in diary.events if event.candidate is not None]
        return any(one.recipe in ("last blocks", "fine-tuned") for one in told)

    # The limit leaves a busy machine room: the end comes by what was found.
    result = fit(samples, config, tmp_path / "work", diary, is_one_tuned)
    held_out = [one for one in samples if one.split == "EVAL"]
    assert result.candidates_file is not None
    others = [one for one in result.candidates if not one.is_best and one.accuracy is not None]
    assert others and all(one.place is not None for one in others)
    for number, one in enumerate(others):
        bundle, report = restore_candidate(
            result.candidates_file, one.place or 0, tmp_path / str(number), (), 2
        )
        assert bundle.description["recipe"] == one.recipe == report.recipe
        bundle.self_test()
        accuracy = evaluate(tmp_path / str(number), held_out).report.accuracy.value
        assert accuracy is not None and accuracy > 0.7


def test_a_candidate_that_was_not_kept_is_refused(whole: tuple[FitResult, Diary], tmp_path: Path) -> None:
    kept = whole[0].candidates_file
    assert kept is not None
    with pytest.raises(EngineError, match="not kept"):
        restore_candidate(kept, 99, tmp_path / "none", (), 2)
    broken = tmp_path / "candidates.pt"
    broken.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(EngineError, match="cannot be read"):
        restore_candidate(broken, 0, tmp_path / "none", (), 2)


@pytest.mark.usefixtures("tiny_network")
def test_stopping_keeps_the_best_so_far(samples: list[Sample], tmp_path: Path) -> None:
    result = head_only(samples, tmp_path)
    assert result.stop_reason == "user"
    Bundle.load(result.bundle).self_test()


@pytest.mark.usefixtures("tiny_network")
def test_stopping_before_a_model_says_so(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(StoppedBeforeModel):
        fit(samples, quick_config(), tmp_path, Diary(), lambda: True)


@pytest.mark.usefixtures("tiny_network")
def test_the_same_seed_gives_the_same_numbers(samples: list[Sample], tmp_path: Path) -> None:
    scores = []
    for name in ("one", "two"):
        result = head_only(samples, tmp_path / name, seed=3)
        scores.append(Bundle.load(result.bundle).predict([samples[0].path, samples[-1].path]))
    assert np.array_equal(*scores)


@pytest.mark.usefixtures("tiny_network")
def test_a_killed_fit_continues_where_it_was(samples: list[Sample], tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(event: Event) -> None:
        if event.kind == "best":
            raise Killed

    with pytest.raises(Killed):
        fit(samples, quick_config(), tmp_path, kill, lambda: False)
    caches = {path: path.stat().st_mtime_ns for path in (tmp_path / "checkpoint").glob("*.npy")}
    assert len(caches) == 4  # pixels, groups, rows of the heads, features
    used_s = json.loads((tmp_path / "checkpoint" / "clock.json").read_text())["used_s"]
    diary = Diary(stop_after="best")
    fit(samples, quick_config(), tmp_path, diary, diary.should_stop)
    assert diary.events[0].elapsed_s >= used_s > 0
    assert {path: path.stat().st_mtime_ns for path in caches} == caches


@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize(("share", "count"), [("DECODING_SHARE", 104), ("FITTING_SHARE", 204)])
def test_much_more_time_teaches_the_images_that_a_short_limit_left_out(
    samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str, count: int
) -> None:
    train = [one for one in samples if one.split == "TRAIN"]
    repeated = (replace(one, id=f"{one.id} {n}") for n in range(count) for one in train)
    many = list(islice(repeated, count))
    monkeypatch.setattr(budget, share, 1e-12)  # for a hundred images, or for two hundred

    def taught(seconds: float) -> int:
        head_only(many, tmp_path, max_seconds=seconds)
        return len(np.load(tmp_path / "checkpoint" / "head_rows.npy"))

    first = taught(60)
    clock = tmp_path / "checkpoint" / "clock.json"
    used = json.loads(clock.read_text())["used_s"]
    assert first < len(many)
    monkeypatch.undo()
    if share == "DECODING_SHARE":
        assert taught(70) == first, "hardly more time: what was found is worth more"
    assert taught(600) == len(many)
    assert json.loads(clock.read_text())["used_s"] > used
    events = (tmp_path / "events.jsonl").read_text()
    assert events.count("the search starts again") == 1


@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize(
    ("share", "cause", "fitted"), [("DECODING_SHARE", "reading", 100), ("FITTING_SHARE", "heads", 200)]
)
def test_a_fit_says_how_many_of_the_images_it_used(
    samples: list[Sample],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    share: str,
    cause: str,
    fitted: int,
) -> None:
    train = [one for one in samples if one.split == "TRAIN"]
    many = [replace(one, id=f"{one.id} {number}") for number in range(20) for one in train]
    monkeypatch.setattr(budget, share, 1e-12)

    result = head_only(many, tmp_path)

    used = result.best.images
    assert used is not None
    rows = len(np.load(tmp_path / "checkpoint" / "head_rows.npy"))
    assert (used.given, used.fitted, used.fewest, used.judged) == (len(many), rows, rows, rows)
    assert rows == fitted < len(many)
    assert used.left_out == {cause: len(many) - rows}
    assert any(f"{rows:,} of {len(many):,} images" in note for note in result.notes)
    assert Bundle.load(result.bundle).description["images_used"]["fitted"] == rows


def test_candidates_are_scored_on_common_images_and_the_refit_uses_all(
    whole: tuple[FitResult, Diary], samples: list[Sample]
) -> None:
    result, diary = whole
    given = sum(one.split == "TRAIN" for one in samples)
    scored = [one for one in result.candidates if one.common is not None]
    assert len({one.common.images for one in scored if one.common}) == 1
    assert all(one.images is not None and one.images.given == given for one in scored)
    assert result.best.common is not None and result.best.common.p_value == 1
    shown = [event.accuracy for event in diary.events if event.accuracy is not None]
    assert shown == sorted(shown) and len({event.judged for event in diary.events} - {0}) == 1
    assert [accuracy for _, accuracy in result.curve] == sorted({accuracy for _, accuracy in result.curve})


@pytest.mark.usefixtures("tiny_network")
def test_evaluation_images_are_never_opened(samples: list[Sample], tmp_path: Path) -> None:
    gone = [replace(one, path=tmp_path / "gone.png") if one.split == "EVAL" else one for one in samples]
    assert head_only(gone, tmp_path / "work").unreadable == ()


@pytest.mark.usefixtures("tiny_network")
def test_a_broken_file_is_named_and_left_out(samples: list[Sample], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no picture")
    result = head_only([*samples, Sample("bad", broken, ("red",), "TRAIN")], tmp_path / "work")
    assert result.unreadable == ("bad",)
    assert result.best.images is not None
    assert (result.best.images.given, result.best.images.left_out) == (17, {"unreadable": 1})
    assert "1 image cannot be read and is left out." in result.notes


def test_one_label_is_refused_with_a_remedy(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="same label, red") as refused:
        fit(
            [one for one in samples if one.labels == ("red",)],
            quick_config(),
            tmp_path,
            Diary(),
            lambda: False,
        )
    assert refused.value.remedy


def test_no_readable_image_is_refused(samples: list[Sample], tmp_path: Path) -> None:
    gone = [replace(one, path=tmp_path / "gone.png") for one in samples]
    with pytest.raises(EngineError, match="None of the images can be read"):
        fit(gone, quick_config(), tmp_path / "work", Diary(), lambda: False)


def test_a_limit_nobody_meets_names_the_fastest(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="EfficientNet-Lite0 at 224"):
        fit(samples, quick_config(max_inference_ms=1), tmp_path, Diary(), lambda: False)


@pytest.mark.usefixtures("tiny_network")
def test_for_cpu_the_time_is_measured(samples: list[Sample], tmp_path: Path) -> None:
    result = head_only(samples, tmp_path, hardware="CPU", max_inference_ms=20000)
    assert result.best.is_measured
    assert result.best.inference_ms is not None
    assert result.best.inference_ms > 0


@pytest.mark.usefixtures("tiny_network")
def test_incremental_training_takes_labels_away_and_adds_some(samples: list[Sample], tmp_path: Path) -> None:
    base = head_only(samples, tmp_path / "base").bundle
    other = make_samples(tmp_path / "pictures", labels=("red", "green"), train=6, evaluation=2)
    result = head_only(other, tmp_path / "next", base_bundle=base)
    assert result.labels == ("green", "red")
    assert Bundle.load(result.bundle).predicted_labels(
        Bundle.load(result.bundle).predict_one(other[0].path)
    ) == ("red",)


@pytest.mark.usefixtures("tiny_network")
def test_a_bundle_names_the_images_that_its_networks_have_seen(samples: list[Sample], tmp_path: Path) -> None:
    base = head_only(samples, tmp_path / "base").bundle
    trained = [one.id for one in samples if one.split == "TRAIN"]
    assert set(read_trained_on(base)) == set(hash_ids(trained))
    other = make_samples(tmp_path / "pictures", labels=("red", "green"), train=6, evaluation=2)
    further = head_only(other, tmp_path / "next", base_bundle=base).bundle
    also = [one.id for one in other if one.split == "TRAIN"]
    assert set(read_trained_on(further)) == set(hash_ids({*trained, *also}))


def test_a_base_made_before_deep_heads_can_be_trained_further(
    whole: tuple[FitResult, Diary], tmp_path: Path
) -> None:
    base = shutil.copytree(whole[0].bundle, tmp_path / "base")
    record = torch.load(base / "weights.pt", weights_only=True)
    for member in record["members"]:
        del member["is_deep"]
    torch.save(record, base / "weights.pt")
    assert [member.is_deep for member in read_members(base)] == [False] * len(record["members"])


def test_an_unreadable_base_is_refused(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        head_only(samples, tmp_path / "work", base_bundle=tmp_path / "none")


@pytest.mark.usefixtures("tiny_network")
def test_several_labels_an_image(samples: list[Sample], tmp_path: Path) -> None:
    both = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        left, right = paint("red", number), paint("blue", number)
        left.paste(right.crop((24, 0, 48, 48)), (24, 0))
        left.save(path)
        both.append(Sample(f"both-{number}", path, ("red", "blue"), "TRAIN"))
    result = head_only([*samples, *both], tmp_path / "work", is_multi_label=True)
    bundle = Bundle.load(result.bundle)
    assert bundle.is_multi_label
    assert all(0 < threshold < 1 for threshold in bundle.thresholds)
    report = evaluate(result.bundle, [one for one in samples if one.split == "EVAL"]).report
    assert report.macro_f1 > 0.6


def test_a_bundle_of_another_format_is_refused(whole: tuple[FitResult, Diary], tmp_path: Path) -> None:
    description = json.loads((whole[0].bundle / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps(description | {"format_version": 99}))
    with pytest.raises(EngineError, match="format 99"):
        Bundle.load(tmp_path)


@pytest.mark.usefixtures("tiny_network")
def test_copies_are_held_out_together(samples: list[Sample], tmp_path: Path) -> None:
    first = samples[0]
    copy = tmp_path / "copy.png"
    Image.open(first.path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(copy)
    diary = Diary(stop_after="best")
    fit([*samples, replace(first, id="copy", path=copy)], quick_config(), tmp_path, diary, diary.should_stop)
    assert any(event.message.startswith("Duplicates found: 1.") for event in diary.events)


@pytest.mark.usefixtures("tiny_network")
def test_grey_tiny_and_panoramic_pictures_train_beside_others(samples: list[Sample], tmp_path: Path) -> None:
    odd = []
    for number, size in enumerate([(5, 5), (600, 30), (30, 600), (1, 9)]):
        path = tmp_path / f"odd{number}.png"
        paint("red", 40 + number).resize(size).convert("L").save(path)
        odd.append(Sample(path.name, path, ("grey",), "TRAIN"))
    result = head_only([*samples, *odd], tmp_path)
    assert result.labels == ("blue", "grey", "red")
    assert not result.unreadable
    scores = Bundle.load(result.bundle, 1).predict([one.path for one in odd])
    assert np.isfinite(scores).all()


@pytest.mark.usefixtures("tiny_network")
def test_more_time_goes_on_where_the_limit_ended(samples: list[Sample], tmp_path: Path) -> None:
    diary = Diary(stop_after="best")
    fit(samples, quick_config(), tmp_path, diary, diary.should_stop)
    clock = json.loads((tmp_path / "checkpoint" / "clock.json").read_text())["used_s"]
    features = next((tmp_path / "checkpoint").glob("features_*.npy"))
    made = features.stat().st_mtime_ns

    again = fit(samples, quick_config(max_seconds=clock + 25), tmp_path, Diary(), lambda: False)

    assert features.stat().st_mtime_ns == made
    assert again.curve[0][0] <= clock
    assert again.stop_reason in ("converged", "time limit")
    assert json.loads((tmp_path / "checkpoint" / "clock.json").read_text())["used_s"] > clock

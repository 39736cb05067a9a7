"""The command line: layouts of data, JSON, exit codes, one-sentence errors."""

import json
from pathlib import Path

import pytest

from tests.engine.generated_images import make_samples
from training.engine import EngineError
from training.engine.backbones.latency import fastest_network
from training.engine.cli import main
from training.engine.data import layouts

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_samples(tmp_path / "data", train=6, evaluation=4)
    return tmp_path / "data"


def test_fit_evaluate_predict_and_latency(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, limit = folder.parent / "out", str(fastest_network("NV_P4")[2] + 0.01)
    data = ["fit", str(folder), "--out", str(out), "--minutes", "0.3", "--max-inference-ms", limit]
    assert main([*data, "--train-ratio", "0.6", "--json", "--threads", "1"]) == 0
    fitted = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert fitted["accuracy"] > 0.7
    assert {"best", "candidates", "stop_reason", "seconds", "peak_rss_mb"} <= set(fitted)
    assert fitted["macro_f1"] > 0.7
    assert fitted["images_per_second"] > 1
    assert (
        main(["predict", str(out), str(next(folder.rglob("*.png"))), "--json"]) == 0
    )  # where it was trained
    capsys.readouterr()
    assert main(["evaluate", fitted["bundle"], str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 20
    assert main(["predict", fitted["bundle"], str(folder / "red" / "0.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["predicted"] == ["red"]
    assert main(["latency", fitted["bundle"], "--hardware", "CPU", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_measured"]


@pytest.mark.usefixtures("tiny_network")
def test_without_a_validation_side_the_figures_come_from_held_out_training_images(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{label}/{i}.png,{'test' if i < 3 else 'train'}" for label in ("red", "blue") for i in range(10)]
    (folder / "split.csv").write_text("\n".join(["path,set", *rows]))
    limit = str(fastest_network("NV_P4")[2] + 0.01)
    command = ["fit", str(folder), "--out", str(folder.parent / "out"), "--minutes", "0.3", "--json"]
    assert main([*command, "--max-inference-ms", limit, "--threads", "1"]) == 0
    fitted = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert fitted["accuracy"] == fitted["best"]["accuracy"]
    assert 0.7 < fitted["macro_f1"] <= 1


def test_bad_data_gives_a_sentence_and_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["fit"])
    assert left.value.code == 2


def test_a_folder_per_label_is_split_by_label(folder: Path) -> None:
    samples = layouts.samples_for_fit(folder, 0.8, 0)
    sides = [(one.labels[0], one.split) for one in samples]
    assert {side: sides.count(side) for side in sides} == {
        (label, usage): count for label in ("red", "blue") for usage, count in (("TRAIN", 8), ("EVAL", 2))
    }


def test_fit_never_sees_the_test_side_and_evaluate_sees_nothing_else(folder: Path) -> None:
    rows = [f"red/{i}.png,{'test' if i < 3 else 'train'}" for i in range(10)]
    rows += [f"blue/{i}.png,{'test' if i < 3 else 'train'}" for i in range(10)]
    (folder / "split.csv").write_text("\n".join(["path,set", *rows]))
    seen = {one.path for one in layouts.samples_for_fit(folder, 0.8, 0)}
    judged = {one.path for one in layouts.samples_for_evaluation(folder)}
    assert len(seen) == 14
    assert len(judged) == 6
    assert not seen & judged


def test_train_and_test_folders(tmp_path: Path) -> None:
    for side in ("train", "val", "test"):
        make_samples(tmp_path / side, train=3, evaluation=0)
    usages = [one.split for one in layouts.samples_for_fit(tmp_path, 0.8, 0)]
    assert (usages.count("TRAIN"), usages.count("EVAL")) == (6, 6)


def test_a_manifest_is_read(folder: Path) -> None:
    lines = [
        json.dumps({"source": f"{label}/{i}.png", "usage": usage, "annotation": [{"name": label}]})
        for label in ("red", "blue")
        for i, usage in enumerate(("TRAIN", "EVAL"))
    ]
    manifest = folder / "V001.manifest"
    manifest.write_text("\n".join(lines))
    assert [one.split for one in layouts.samples_for_fit(manifest, 0.8, 0)] == ["TRAIN", "EVAL"] * 2
    manifest.write_text("{}")
    with pytest.raises(EngineError, match="Line 1"):
        layouts.samples_for_fit(manifest, 0.8, 0)

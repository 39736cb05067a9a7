"""What a fit says it left out, and the evaluation of its model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.generated_images import Diary, make_samples, quick_config
from training.engine import FitResult, Sample
from training.engine.bundle.bundle import Bundle
from training.engine.evaluation.evaluate import evaluate
from training.engine.fit import fit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("pictures"))


def head_only(samples: list[Sample], workdir: Path, **changes: object) -> FitResult:
    """Stops as soon as the first model exists."""
    diary = Diary(stop_after="best")
    return fit(samples, quick_config(**changes), workdir, diary, diary.should_stop)


@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize("threads", [1, 4])
def test_an_evaluation_by_several_threads_gives_the_answers_to_single_images_in_order(
    samples: list[Sample], tmp_path: Path, threads: int
) -> None:
    bundle = head_only(samples, tmp_path / "work").bundle
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    asked = [*samples[:5], replace(samples[0], id="bad", path=broken), *samples[5:]]
    shares: list[float] = []
    found = evaluate(bundle, asked, shares.append, threads)
    assert [one.id for one in found.predictions] == [sample.id for sample in samples]
    assert found.unreadable == ("bad",)
    single = Bundle.load(bundle)
    for one, sample in zip(found.predictions, samples, strict=True):
        assert np.allclose(one.scores, single.predict_one(sample.path), atol=1e-6)
    assert shares == sorted(shares) and len(shares) == len(asked) and shares[-1] == 1


@pytest.mark.usefixtures("tiny_network")
def test_networks_that_were_not_tried_are_named(samples: list[Sample], tmp_path: Path) -> None:
    note = next(
        one for one in head_only(samples, tmp_path / "slow").notes if one.startswith("Over the limit")
    )
    assert note.startswith("Over the limit for an answer by estimate: EfficientNet-Lite0 at 224 px, ")
    result = head_only(samples, tmp_path / "all", max_inference_ms=10_000)
    note = next(one for one in result.notes if one.startswith("Not tried"))
    assert note.startswith("Not tried before the training ended: ")
    assert "EfficientNet-Lite0 at 224 px" in note and result.best.network not in note
    assert not any(one.startswith("Over the limit") for one in result.notes)

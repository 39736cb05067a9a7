"""Which number format a model answers with: INT8 and bfloat16 against float32 on the same validation images.

INT8 becomes the default only where it is quicker and no difference can be told: see
`NumberFormatReport.is_alike`.
Where there are too few images to tell, the model answers in float32. bfloat16 is never the default, because
not every processor has it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine import runtime
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.quantization import set_default_number_format
from training.engine.config import EngineError, NumberFormat, Sample
from training.engine.evaluation.evaluate import (
    Evaluation,
    SamplePrediction,
    evaluation_of,
    predict_samples,
)
from training.engine.evaluation.significance import LEVEL, mcnemar_p_value

MIN_IMAGES = 100  # fewer cannot tell that two networks answer alike
QUICKER = 0.9  # of the time of float32
MAX_LOSS_RATIO = 1.05  # of the log loss of float32; a smaller increase does not matter, even if it is certain
TIMED_IMAGES, ROUNDS, MAX_TIMING_S = 8, 24, 4.0
SHARE_OF_TIME = 0.9  # that a reduced number format takes at most for all images, of the time of float32
SMALLEST = 1e-6  # score in a log loss


@dataclass(frozen=True, slots=True)
class NumberFormatReport:
    """A number format beside float32 on the same images; that of float32 itself compares it with itself.

    `hits` of `images` are right; `lost` are right in float32 alone, and `won` in this number format alone.
    `agreed`: images with the same labels and the same verdict whether the image is known. `known_p_value`:
    whether the share of known images differs. `loss`: mean log loss; `loss_gap`, `loss_gap_error`: its mean
    difference from float32 and the standard error of that. `ms`: the median time of one image, decoded and
    predicted, in turns with float32.
    """

    number_format: NumberFormat
    images: int
    hits: int
    lost: int
    won: int
    agreed: int
    p_value: float
    known_p_value: float
    loss: float
    loss_gap: float
    loss_gap_error: float
    ms: float

    @property
    def is_alike(self) -> bool:
        """Whether enough images tell no difference from float32 in accuracy, log loss and known images.

        The accuracy may be lower by no more than the standard error of that of float32.
        """
        share = (self.hits + self.lost - self.won + 1) / (self.images + 2)
        noise = math.sqrt(self.images * share * (1 - share))
        is_loss_told = self.loss_gap > 2 * self.loss_gap_error
        return (
            self.images >= MIN_IMAGES
            and min(self.p_value, self.known_p_value) >= LEVEL
            and self.lost - self.won <= noise
            and not (is_loss_told and self.loss > MAX_LOSS_RATIO * (self.loss - self.loss_gap))
        )


@dataclass(frozen=True, slots=True)
class NumberFormatChoice:
    """All number formats that were compared, float32 first, the default, and its evaluation."""

    reports: tuple[NumberFormatReport, ...]
    default: NumberFormat
    evaluation: Evaluation


def choose_number_format(
    bundle: Path,
    samples: Sequence[Sample],
    exact: Evaluation,
    threads: int | None = None,
    left_s: float = math.inf,
    advance: Callable[[float], None] | None = None,
) -> NumberFormatChoice:
    """Evaluate the number formats that the bundle and this machine have, and make the best one its default.

    `exact` is the evaluation in float32. A number format is left out where `left_s` would not suffice.
    """
    ends_at = time.monotonic() + left_s
    paths = {sample.id: sample.path for sample in samples}
    timed = [paths[one.id] for one in exact.predictions[:TIMED_IMAGES]]
    models, found = [Bundle.load(bundle, threads, number_format="float32")], list[list[SamplePrediction]]()
    for model in _reduced(bundle, threads, models[0].description):
        expected_s = MAX_TIMING_S + SHARE_OF_TIME * len(samples) * _image_s(models[0], timed)
        if time.monotonic() + expected_s > ends_at:
            break
        models.append(model)
        found.append(predict_samples(model, samples, advance, threads)[0])
    times = time_in_turns(models, timed)
    every = [list(exact.predictions), *found]
    reports = tuple(
        compare(model, every[0], predictions, ms)
        for model, predictions, ms in zip(models, every, times, strict=True)
    )
    place = next((place for place, report in enumerate(reports) if _is_better(report, reports[0])), 0)
    if place:
        set_default_number_format(bundle, reports[place].number_format)
        exact = evaluation_of(models[place], every[place], samples, exact.unreadable)
    return NumberFormatChoice(reports, reports[place].number_format, exact)


def _reduced(bundle: Path, threads: int | None, description: dict[str, Any]) -> list[Bundle]:
    """The bundle in each other number format that it has and this machine computes."""
    names: list[NumberFormat] = ["int8"] if "int8" in description else []
    if runtime.has_bfloat16():
        names.append("bfloat16")
    models = []
    for name in names:
        try:
            models.append(Bundle.load(bundle, threads, number_format=name))
        except EngineError:  # what this machine cannot load is not offered
            continue
    return models


def _is_better(report: NumberFormatReport, exact: NumberFormatReport) -> bool:
    return report.number_format == "int8" and report.is_alike and report.ms <= QUICKER * exact.ms


def compare(
    model: Bundle, exact: Sequence[SamplePrediction], other: Sequence[SamplePrediction], ms: float
) -> NumberFormatReport:
    """The report of a model's predictions beside those in float32 for the same images."""
    right, other_right = (np.array([_is_right(one) for one in side], np.bool_) for side in (exact, other))
    known, other_known = (np.array([one.is_known is not False for one in side]) for side in (exact, other))
    losses = _losses(model, exact), _losses(model, other)
    gaps = losses[1] - losses[0]
    lost, won = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    return NumberFormatReport(
        number_format=model.number_format,
        images=len(exact),
        hits=int(other_right.sum()),
        lost=lost,
        won=won,
        agreed=sum(_answer(a) == _answer(b) for a, b in zip(exact, other, strict=True)),
        p_value=mcnemar_p_value(lost, won),
        known_p_value=mcnemar_p_value(int((known & ~other_known).sum()), int((other_known & ~known).sum())),
        loss=float(losses[1].mean()),
        loss_gap=float(gaps.mean()),
        loss_gap_error=float(gaps.std() / math.sqrt(len(gaps))),
        ms=round(ms, 2),
    )


def _is_right(prediction: SamplePrediction) -> bool:
    return set(prediction.predicted) == set(prediction.truth)


def _answer(prediction: SamplePrediction) -> tuple[frozenset[str], bool | None]:
    return frozenset(prediction.predicted), prediction.is_known


def _losses(model: Bundle, predictions: Sequence[SamplePrediction]) -> NDArray[np.float64]:
    """[N] the log loss of each image: of its label, or the mean of all labels where it may carry several."""
    scores = np.clip([one.scores for one in predictions], SMALLEST, 1 - SMALLEST)
    truth = np.array([[label in one.truth for label in model.labels] for one in predictions])
    if model.is_multi_label:
        return np.asarray(-np.log(np.where(truth, scores, 1 - scores)).mean(axis=1), np.float64)
    return np.asarray(-np.log(np.where(truth, scores, 1)).sum(axis=1), np.float64)


def time_in_turns(models: Sequence[Bundle], paths: Sequence[Path]) -> list[float]:
    """The median milliseconds of each model for one image, in turns, so that other work slows all alike."""
    times: list[list[float]] = [[] for _ in models]
    ends_at = time.monotonic() + MAX_TIMING_S
    for number in range(ROUNDS):
        for model, column in zip(models, times, strict=True):
            began = time.perf_counter()
            model.predict_one(paths[number % len(paths)])
            column.append(1e3 * (time.perf_counter() - began))
        if number > 2 and time.monotonic() > ends_at:
            break
    return [float(np.median(column[1:])) for column in times]


def _image_s(model: Bundle, paths: Sequence[Path]) -> float:
    """Seconds of one image among others, decoding included."""
    model.predict_one(paths[0])
    began = time.monotonic()
    for path in paths[:4]:
        model.predict_one(path)
    return (time.monotonic() - began) / len(paths[:4])

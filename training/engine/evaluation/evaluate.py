"""Evaluate a bundle on labeled images: all predictions, and the figures computed from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from training.engine.bundle.bundle import Bundle, ImagePrediction
from training.engine.config import EngineError, Sample
from training.engine.data.images import UnreadableImage
from training.engine.evaluation import metrics


@dataclass(frozen=True, slots=True)
class SamplePrediction:
    """The prediction for one sample. `scores` are in the order of the bundle's labels.

    `predicted` holds one label, unless the bundle is multi-label. `is_known` and `familiarity` as in
    NoveltyScore; None where the bundle cannot detect unknown images.
    """

    id: str
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    scores: tuple[float, ...]
    is_known: bool | None = None
    familiarity: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`labels`: those of the bundle, then those that only the images carry. `unreadable`: ids left out."""

    labels: tuple[str, ...]
    predictions: tuple[SamplePrediction, ...]
    report: metrics.Report
    unreadable: tuple[str, ...]


def evaluate(
    bundle: Path,
    samples: Sequence[Sample],
    report: Callable[[float], None] | None = None,
    threads: int | None = None,
) -> Evaluation:
    """Predict every sample and compute the figures. `report(share done)` is called after every image.

    Raises EngineError when there is no sample or none can be read.
    """
    threads = threads or os.cpu_count() or 1
    model = Bundle.load(bundle, threads, streams=threads)
    predictions, unreadable = predict_samples(model, samples, report, threads)
    if not predictions:
        raise EngineError(
            "There is no readable image to evaluate with.", "Add labeled images for validation."
        )
    return evaluation_of(model, predictions, samples, unreadable)


def predict_samples(
    model: Bundle,
    samples: Sequence[Sample],
    report: Callable[[float], None] | None = None,
    threads: int | None = None,
) -> tuple[list[SamplePrediction], list[str]]:
    """The predictions of all readable samples in order, and the ids of the others; `report` as above."""
    predictions: list[SamplePrediction] = []
    unreadable: list[str] = []
    for done, (sample, answer) in enumerate(_answers(model, samples, threads or os.cpu_count() or 1), 1):
        if answer is None:
            unreadable.append(sample.id)
        else:
            predictions.append(_prediction(sample, answer))
        if report:
            report(done / len(samples))
    return predictions, unreadable


def _prediction(sample: Sample, answer: ImagePrediction) -> SamplePrediction:
    novelty = answer.novelty_score
    return SamplePrediction(
        sample.id,
        sample.labels,
        answer.predicted_labels,
        tuple(map(float, answer.scores)),
        novelty.is_known,
        novelty.familiarity,
    )


def evaluation_of(
    model: Bundle,
    predictions: Sequence[SamplePrediction],
    samples: Sequence[Sample],
    unreadable: Sequence[str],
) -> Evaluation:
    """The figures of predictions that `predict_samples` gave for the samples."""
    groups = {sample.id: sample.group for sample in samples}
    carried = {label for prediction in predictions for label in prediction.truth}
    labels = (*model.labels, *sorted(carried - set(model.labels)))
    figures = metrics.report(
        labels,
        [prediction.truth for prediction in predictions],
        [prediction.predicted for prediction in predictions],
        model.is_multi_label,
        [groups[prediction.id] for prediction in predictions],
    )
    return Evaluation(labels, tuple(predictions), figures, tuple(unreadable))


def _answers(
    model: Bundle, samples: Sequence[Sample], threads: int
) -> Iterator[tuple[Sample, ImagePrediction | None]]:
    """Each sample with its answer, None where it is unreadable; a few of them at once.

    Each thread answers an image of its own. Threads that share one wait for each other at every layer, and on
    a busy machine for the one that has no processor.
    """

    def answer(sample: Sample) -> ImagePrediction | None:
        try:
            return model.answer(sample.path)
        except UnreadableImage:
            return None

    with ThreadPoolExecutor(threads) as pool:
        ahead: list[tuple[Sample, Future[ImagePrediction | None]]] = []
        for sample in samples:
            ahead.append((sample, pool.submit(answer, sample)))
            if len(ahead) > 4 * threads:
                first, future = ahead.pop(0)
                yield first, future.result()
        for first, future in ahead:
            yield first, future.result()

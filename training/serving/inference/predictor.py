"""Predictions of deployed versions: an image in, an Answer out."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from exeml_site.lib.display import points
from projects.images import decode
from training.engine.bundle.decision import OWN, AnswerSettings, ranked
from training.models import Service, TrainingVersion
from training.serving.inference.model_cache import MAX_AT_ONCE, ModelUnavailable, load_model
from training.versions.number_formats import number_format_in

logger = logging.getLogger(__name__)

TOP_SCORES = 5
# More predictions at once are not faster, and decoding a large image takes 200 MB.
_slots = threading.BoundedSemaphore(MAX_AT_ONCE)


class InvalidImage(Exception):
    """The image cannot be decoded; the message tells the caller why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's prediction for one image. `settings`: those in force, as the answer states them."""

    scores: tuple[tuple[str, float], ...]  # the five best, best first
    predicted_labels: tuple[str, ...]  # empty where none reaches its threshold or the minimum confidence
    is_multi_label: bool
    is_known: bool | None = None  # None: the model cannot tell
    familiarity: float | None = None
    version: str = ""
    request_id: UUID | None = None
    is_collected: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def predicted_label(self) -> str:
        return self.scores[0][0]

    @property
    def percents(self) -> list[tuple[str, str]]:
        """The scores in percent: ("roses", "97.1")."""
        return [(label, points(score)) for label, score in self.scores]

    @property
    def rounded_scores(self) -> list[list[str | float]]:
        """[label, score] with six decimals, as JSON holds them."""
        return [[label, round(score, 6)] for label, score in self.scores]

    def as_json(self) -> dict[str, Any]:
        """The JSON of the API's answer."""
        return {
            "predicted_label": self.predicted_label,
            "predicted_labels": list(self.predicted_labels),
            "scores": self.rounded_scores,
            "is_known": self.is_known,
            "settings": self.settings,
            "version": self.version,
            "request_id": str(self.request_id),
            "is_collected": self.is_collected,
        }


def version_for_call(service: Service) -> TrainingVersion:
    """The version that answers this call: the canary's for its share of the calls, if it can be loaded."""
    canary = service.canary_version
    if canary is None or not service.is_running or 100 * random.random() >= service.canary_percent:
        return service.training_version
    try:
        load_model(canary, number_format_in(service, canary))
    except ModelUnavailable:  # the log says why; a canary must not make calls fail
        return service.training_version
    return canary


def predict(
    version: TrainingVersion, image: bytes, settings: AnswerSettings = OWN, number_format: str = ""
) -> Answer:
    """Predict the labels of one encoded image under the settings; without a number format in the default.

    The bundle decodes the bytes as it did in the evaluation, so that the scores are equal. Raises
    InvalidImage if the image cannot be decoded, and ModelUnavailable.
    """
    from training.engine.data.images import UnreadableImage

    bundle = load_model(version, number_format)
    try:
        decode.open_header(image)
        with _slots:
            output = bundle.answer(image, settings)
    except (decode.ImageRefused, UnreadableImage) as problem:
        raise InvalidImage(str(problem)) from problem
    best = tuple(
        (bundle.labels[i], float(output.scores[i])) for i in ranked(output.scores.tolist())[:TOP_SCORES]
    )
    named = dict.fromkeys([*(label for label, _ in best), *output.predicted_labels])
    return Answer(
        scores=best,
        predicted_labels=output.predicted_labels,
        is_multi_label=bundle.is_multi_label,
        is_known=output.is_known,
        familiarity=output.novelty_score.familiarity,
        version=version.name,
        request_id=uuid4(),
        settings=bundle.rule.stated(settings, list(named)),
    )


def verify_model(version: TrainingVersion, number_format: str = "") -> None:
    """Load the model, run its self-test and predict one image. Raises ModelUnavailable."""
    from PIL import Image

    from training.engine.config import EngineError

    try:
        bundle = load_model(version, number_format)
        bundle.self_test()
        bundle.predict_one(Image.new("RGB", (64, 64), "grey"))
    except EngineError as problem:
        raise ModelUnavailable(str(problem)) from problem

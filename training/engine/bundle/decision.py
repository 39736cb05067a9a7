"""From scores to an answer: the only place where thresholds are applied.

The service, batches, the evaluation and the exported programs all decide here. Plain Python without imports
of this project, because the module is also copied beside an exported model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DECIMALS = 6  # as many as answers and evaluations state of a score
MAX_NAMED = 4  # thresholds that `text` names


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """What people changed in the model's own rule; empty settings change nothing.

    `thresholds`: the score of a label from which on it is predicted, where images carry several labels.
    `min_confidence`: the best score from which on an image gets a label, where images carry one; 0: always.
    `min_familiarity`: the familiarity from which on an image is known; None: the model's own limits.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    min_confidence: float = 0.0
    min_familiarity: float | None = None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> AnswerSettings:
        """Settings that `as_json` wrote; None and {} are empty settings."""
        stored = stored or {}
        return cls(
            dict(stored.get("thresholds") or {}),
            float(stored.get("min_confidence") or 0.0),
            stored.get("min_familiarity"),
        )

    def as_json(self) -> dict[str, Any]:
        """What differs from the model's own rule; {} where nothing does."""
        stored: dict[str, Any] = {}
        if self.thresholds:
            stored["thresholds"] = dict(self.thresholds)
        if self.min_confidence:
            stored["min_confidence"] = self.min_confidence
        if self.min_familiarity is not None:
            stored["min_familiarity"] = self.min_familiarity
        return stored

    @property
    def text(self) -> str:
        """The settings in a line; empty where they change nothing."""
        parts = []
        if len(self.thresholds) > MAX_NAMED:
            parts.append(f"thresholds of {len(self.thresholds)} labels")
        elif self.thresholds:
            named = ", ".join(f"{label} {value:.3f}" for label, value in self.thresholds.items())
            parts.append(f"thresholds {named}")
        if self.min_confidence:
            parts.append(f"min. confidence {self.min_confidence:.3f}")
        if self.min_familiarity is not None:
            parts.append(f"min. familiarity {self.min_familiarity:.3f}")
        return "; ".join(parts)


OWN = AnswerSettings()


@dataclass(frozen=True, slots=True)
class Decision:
    """The labels of an answer, and whether the image is known; None where the model cannot tell."""

    labels: tuple[str, ...]
    is_known: bool | None


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """The rule of one model: its labels in the order of the scores, and its own threshold of each."""

    labels: tuple[str, ...]
    is_multi_label: bool
    thresholds: tuple[float, ...]

    def decide(
        self,
        scores: Sequence[float],
        settings: AnswerSettings = OWN,
        is_known: bool | None = None,
        familiarity: float | None = None,
    ) -> Decision:
        """The answer to an image with these scores [C]; `is_known` is the verdict by the model's own limits.

        With one label per image, an image whose best score is below `min_confidence` gets no label and is
        unknown.
        """
        if settings.min_familiarity is not None and familiarity is not None:
            is_known = reaches(familiarity, settings.min_familiarity)
        if self.is_multi_label:
            pairs = zip(self.labels, scores, self.in_force(settings), strict=True)
            return Decision(tuple(name for name, score, limit in pairs if reaches(score, limit)), is_known)
        best = ranked(scores)[0]
        if reaches(scores[best], settings.min_confidence):
            return Decision((self.labels[best],), is_known)
        return Decision((), False)

    def in_force(self, settings: AnswerSettings) -> list[float]:
        """[C] the threshold of each label under the settings."""
        own = zip(self.labels, self.thresholds, strict=True)
        return [float(settings.thresholds.get(label, threshold)) for label, threshold in own]

    def stated(self, settings: AnswerSettings, labels: Sequence[str]) -> dict[str, Any]:
        """The settings as an answer states them: all that are in force, with the thresholds of `labels`."""
        stated: dict[str, Any] = {"min_familiarity": settings.min_familiarity}
        if not self.is_multi_label:
            return {"min_confidence": settings.min_confidence, **stated}
        limits = dict(zip(self.labels, self.in_force(settings), strict=True))
        return {"thresholds": {label: round(limits[label], DECIMALS) for label in labels}, **stated}


def reaches(score: float, limit: float) -> bool:
    """Whether a score is at least the limit, both at the precision at which they are stated.

    Without rounding, the verdict would depend on whether a threshold such as 0.175 went through float32.
    """
    return round(float(score), DECIMALS) >= round(float(limit), DECIMALS)


def ranked(scores: Sequence[float]) -> list[int]:
    """Indices of the scores, the highest first; of equal ones the first comes first."""
    return sorted(range(len(scores)), key=lambda index: -float(scores[index]))

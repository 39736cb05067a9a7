"""How many answers of a batch are right, where the labels of its images are known.

Images that the version was trained on are counted apart: a model knows them by heart. So are images with a
label that the version does not know.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from projects.models import Project
from training.engine.evaluation.metrics import Rate, wilson
from training.serving.batches.truths import labels_of_project

CHUNK_SIZE = 500
MAX_MISTAKES = 60  # that are kept with their pictures; the table has all
Line = dict[str, Any]


class LabelRates(NamedTuple):
    """Recall and precision of a label with their Wilson intervals. `images` carry the label."""

    label: str
    images: int
    recall: Rate
    precision: Rate


@dataclass
class Judgement:
    """Counts of a judged batch; `as_json` is stored in its row."""

    is_multi_label: bool
    knows_training: bool = True
    judged: int = 0
    hits: int = 0
    trained: int = 0
    trained_hits: int = 0
    without_label: int = 0
    unknown_label: int = 0
    of_batch: int = 0
    images: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    other_labels: Counter[str] = field(default_factory=Counter)
    mistakes: list[Line] = field(default_factory=list)

    @property
    def accuracy(self) -> Rate:
        return wilson(self.hits, self.judged)

    @property
    def labels(self) -> list[LabelRates]:
        """Every label that occurs, the lowest recall first."""
        names = sorted({*self.images, *self.predicted})
        figures = [
            LabelRates(
                name,
                self.images[name],
                wilson(self.right[name], self.images[name]),
                wilson(self.right[name], self.predicted[name]),
            )
            for name in names
        ]
        return sorted(figures, key=lambda row: (row.recall.value is None, row.recall.value or 0.0))

    @property
    def confusion(self) -> dict[str, Any]:
        """Labels and matrix as the confusion matrix reads them; empty for several labels per image."""
        if self.is_multi_label or not self.judged:
            return {}
        labels = sorted({*self.images, *self.predicted})
        return {
            "labels": labels,
            "matrix": [[self.pairs[true, predicted] for predicted in labels] for true in labels],
        }

    def add(self, number: int, line: Line) -> None:
        """Count a line that `judged_line` made."""
        truth = line["true_labels"]
        if line["result"] != "SUCCESSFUL":
            return
        if line["is_right"] is None:
            self.unknown_label += bool(truth)
            self.without_label += not truth
            self.other_labels.update(truth)
        elif line["is_trained_on"]:
            self.trained += 1
            self.trained_hits += line["is_right"]
        else:
            self._add_judged(number, line, truth, line["predicted_labels"])

    def _add_judged(self, number: int, line: Line, truth: Sequence[str], predicted: Sequence[str]) -> None:
        self.judged += 1
        self.hits += line["is_right"]
        self.of_batch += line["labels_from"] == "batch"
        self.images.update(truth)
        self.predicted.update(predicted)
        self.right.update(set(truth) & set(predicted))
        if not self.is_multi_label:
            self.pairs[truth[0], predicted[0]] += 1
        if not line["is_right"]:
            self.mistakes.append({"number": number, **line})
            if len(self.mistakes) > 4 * MAX_MISTAKES:
                self.mistakes = _surest(self.mistakes)

    def as_json(self) -> dict[str, Any]:
        counts = {
            name: getattr(self, name)
            for name in ("is_multi_label", "knows_training", "judged", "hits", "trained", "trained_hits")
        }
        return counts | {
            "without_label": self.without_label,
            "unknown_label": self.unknown_label,
            "of_batch": self.of_batch,
            "images": self.images,
            "predicted": self.predicted,
            "right": self.right,
            "pairs": [[*pair, count] for pair, count in self.pairs.items()],
            "other_labels": dict(self.other_labels.most_common(10)),
            "mistakes": [_mistake(line) for line in _surest(self.mistakes)],
        }

    @classmethod
    def of_json(cls, stored: dict[str, Any]) -> Judgement:
        counters = {name: Counter(stored[name]) for name in ("images", "predicted", "right", "other_labels")}
        pairs = Counter({(true, predicted): count for true, predicted, count in stored["pairs"]})
        return cls(**(stored | counters | {"pairs": pairs}))


def judge(
    lines: Iterable[Line], project: Project, labels: Sequence[str], trained: frozenset[str] | None
) -> tuple[Judgement, Iterator[Line]]:
    """The judgement, which is complete once all judged lines are read. `trained`: None if it is not known."""
    judgement = Judgement(project.is_multi_label, knows_training=trained is not None)
    known = {label.casefold(): label for label in labels}

    def judged() -> Iterator[Line]:
        numbered = enumerate(lines)
        while chunk := list(islice(numbered, CHUNK_SIZE)):
            unlabeled = {line.get("sha256", "") for _, line in chunk if not line.get("given_labels")}
            in_project = labels_of_project(project, unlabeled - {""})
            for number, line in chunk:
                sha256, given = line.get("sha256", ""), line.get("given_labels", [])
                truth = [known.get(label.casefold(), label) for label in given or in_project.get(sha256, [])]
                new = _judged_line(line, truth, known, judgement.is_multi_label)
                new["is_trained_on"] = None if trained is None else sha256 in trained
                judgement.add(number, new)
                yield new

    return judgement, judged()


def _judged_line(line: Line, truth: list[str], known: dict[str, str], is_multi_label: bool) -> Line:
    """The line with `true_labels`, `labels_from` and `is_right`, which is None where it cannot be judged."""
    new = {name: value for name, value in line.items() if name != "given_labels"}
    if len(truth) > 1 and not is_multi_label:
        truth = []
    source = ("batch" if line.get("given_labels") else "project") if truth else ""
    is_judged = truth and line["result"] == "SUCCESSFUL" and all(label.casefold() in known for label in truth)
    is_right = set(truth) == set(line["predicted_labels"]) if is_judged else None
    return new | {"true_labels": truth, "labels_from": source, "is_right": is_right}


def _surest(mistakes: list[Line]) -> list[Line]:
    return heapq.nlargest(MAX_MISTAKES, mistakes, key=lambda line: line["scores"][0][1])


def _mistake(line: Line) -> Line:
    kept = ("number", "source", "true_labels", "predicted_labels", "scores", "is_known", "sha256")
    return json.loads(json.dumps({name: line[name] for name in kept}))  # type: ignore[no-any-return]

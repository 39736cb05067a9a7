"""Drift: how a version's predictions in calls differ from those of its evaluation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django.utils.translation import gettext

from exeml_site.lib.display import whole_percent
from training.engine.bundle.decision import OWN, AnswerSettings
from training.engine.evaluation.metrics import Rate, wilson
from training.evaluation.answer_figures import decide, stored_predictions
from training.models import Service, TrainingVersion
from training.serving.calls.dashboard import CallTotals, Dashboard
from training.serving.inference.model_cache import rule_of_evaluation
from training.versions.answer_settings import settings_in

MAX_LABELS = 8
MIN_PREDICTIONS = 30  # fewer predictions give no sentence
MIN_SHARE_CHANGE = 0.1  # smaller changes of a label's share give no sentence


@dataclass(frozen=True)
class LabelShare:
    """A label's share of the predictions now, and of those in the evaluation."""

    label: str
    calls: int
    now: float
    then: float | None


@dataclass(frozen=True)
class Drift:
    """The most frequent labels with their shares, and the changes as sentences."""

    shares: list[LabelShare]
    sentences: list[str]


def drift_of(service: Service, board: Dashboard) -> Drift:
    """The drift of the version that answers in the service, in the window of its dashboard."""
    version = service.training_version
    return find_drift(version, board.counts_of(version), settings_in(service, version))


def find_drift(version: TrainingVersion, calls: CallTotals, settings: AnswerSettings = OWN) -> Drift:
    """Compare the predictions with those that the evaluated images get under the service's settings.

    A sentence stands only where 95 % intervals are disjoint.
    """
    evaluated, is_known = _count_evaluated(version, settings)
    call_count, evaluated_count = sum(calls.labels.values()), sum(evaluated.values())
    labels = [label for label, _ in calls.labels.most_common(MAX_LABELS)]
    shares = [
        LabelShare(
            label,
            calls.labels[label],
            calls.labels[label] / call_count,
            evaluated[label] / evaluated_count if evaluated_count else None,
        )
        for label in labels
    ]
    if call_count < MIN_PREDICTIONS or evaluated_count < MIN_PREDICTIONS:
        return Drift(shares, [])
    sentences = [
        _label_sentence(
            label, wilson(calls.labels[label], call_count), wilson(evaluated[label], evaluated_count)
        )
        for label in labels
    ]
    if any(known is not None for known in is_known):
        unknown = wilson(sum(known is False for known in is_known), len(is_known))
        sentences.append(_unknown_sentence(wilson(calls.unknown, calls.images), unknown))
    return Drift(shares, [sentence for sentence in sentences if sentence])


def _count_evaluated(
    version: TrainingVersion, settings: AnswerSettings
) -> tuple[Counter[str], list[bool | None]]:
    """The predictions of each label and `is_known` of each evaluated image, as the settings give them."""
    predictions = stored_predictions(version) if settings != OWN else None
    rule = rule_of_evaluation(version, predictions.labels) if predictions else None
    labels, is_known = Counter[str](), list[bool | None]()
    if predictions is not None and rule is not None:
        rows = [(decision.labels, decision.is_known) for decision in decide(rule, predictions, settings)]
    else:
        rows = list(version.evaluated_images.order_by().values_list("predicted", "is_known"))
    for predicted, known in rows:
        labels.update(predicted)
        is_known.append(known)
    return labels, is_known


def _label_sentence(label: str, now: Rate, then: Rate) -> str:
    """Empty unless the 95 % intervals are disjoint and the shares differ by MIN_SHARE_CHANGE."""
    change = (now.value or 0) - (then.value or 0)
    if not _are_disjoint(now, then) or abs(change) < MIN_SHARE_CHANGE:
        return ""
    if change > 0:
        text = gettext(
            "“%(label)s” is predicted more often than in the evaluation: %(now)s of the images, compared "
            "with %(then)s."
        )
    else:
        text = gettext(
            "“%(label)s” is predicted less often than in the evaluation: %(now)s of the images, compared "
            "with %(then)s."
        )
    return text % {"label": label, "now": _percent(now), "then": _percent(then)}


def _unknown_sentence(now: Rate, then: Rate) -> str:
    """Empty unless the share of unknown images has grown and the 95 % intervals are disjoint."""
    if not _are_disjoint(now, then) or (now.value or 0) < (then.value or 0):
        return ""
    text = gettext(
        "More images are unknown to the model than in its evaluation: %(now)s, compared with %(then)s. Check "
        "them under Collected, and train again with some of them."
    )
    return text % {"now": _percent(now), "then": _percent(then)}


def _are_disjoint(first: Rate, second: Rate) -> bool:
    if None in (first.low, first.high, second.low, second.high):
        return False
    return bool(first.low > second.high or first.high < second.low)  # type: ignore[operator]


def _percent(rate: Rate) -> str:
    return whole_percent(rate.value or 0)

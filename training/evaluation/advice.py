"""Advice on what to do next; each line has its evidence and a link to the images or the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count, points, three_decimals, whole_percent
from projects.models import Image, Label
from training.evaluation.confusion_matrix import Cell
from training.models import Metric, StopReason, TrainingVersion

MAX_GAINS, MAX_CONFUSIONS = 3, 3
MIN_GAIN = 0.005  # of recall; less is not worth the labeling
MIN_CONFUSED_IMAGES = 2  # images of a confusion


class Advice(NamedTuple):
    text: str
    link: str
    url: str


def advice_for(
    version: TrainingVersion, confusions: Sequence[Cell], uncertainty_notes: Sequence[str] = ()
) -> list[Advice]:
    """Advice for a Completed version, the most useful first. `confusions`: the most frequent first."""
    return [
        *_label_issue_advice(version),
        *_leakage_advice(version),
        *_uncertainty_advice(version, uncertainty_notes),
        *_confusion_advice(version, confusions),
        *_forecast_advice(version),
        *_time_limit_advice(version),
    ]


def _label_issue_advice(version: TrainingVersion) -> list[Advice]:
    suspects = (
        Image.objects.labeled().filter(project=version.project_id, suspected_label__isnull=False).count()
    )
    if not suspects:
        return []
    text = ngettext(
        "%(count)s label is probably wrong: a model that has not seen the image predicts another one. "
        "Wrong labels harm training and evaluation.",
        "%(count)s labels are probably wrong: a model that has not seen the images predicts other ones. "
        "Wrong labels harm training and evaluation.",
        suspects,
    ) % {"count": count(suspects)}
    return [Advice(text, gettext("Check them"), f"{_label_data_url(version)}?tab=all&check=suspects")]


def _leakage_advice(version: TrainingVersion) -> list[Advice]:
    leaks = version.dataset_version.split.get("leaks", 0)
    if not leaks:
        return []
    text = ngettext(
        "%(count)s validation image has a duplicate in training, so the accuracy looks better than it is. "
        "Label other images with the same label.",
        "%(count)s validation images have a duplicate in training, so the accuracy looks better than it is. "
        "Label other images with the same label.",
        leaks,
    ) % {"count": count(leaks)}
    url = reverse("dataset_version", args=[version.project_id, version.dataset_version.name])
    return [Advice(text, gettext("Show them"), url)]


def _uncertainty_advice(version: TrainingVersion, notes: Sequence[str]) -> list[Advice]:
    return [Advice(note, gettext("Label more images"), _label_data_url(version)) for note in notes]


def _confusion_advice(version: TrainingVersion, confusions: Sequence[Cell]) -> list[Advice]:
    images = reverse("evaluated_images", args=[version.project_id, version.number])
    return [
        Advice(_confusion_text(cell), gettext("Show them"), f"{images}?{cell.query}")
        for cell in confusions[:MAX_CONFUSIONS]
        if cell.images >= MIN_CONFUSED_IMAGES
    ]


def _confusion_text(cell: Cell) -> str:
    text = ngettext(
        "“%(label)s” was predicted as “%(predicted)s” %(count)s time, in %(share)s of its images. "
        "Check the labels; if they are right, label more images of both.",
        "“%(label)s” was predicted as “%(predicted)s” %(count)s times, in %(share)s of its images. "
        "Check the labels; if they are right, label more images of both.",
        cell.images,
    )
    share = whole_percent(cell.strength)
    return text % {
        "label": cell.true,
        "predicted": cell.predicted,
        "count": count(cell.images),
        "share": share,
    }


class ExpectedGain(NamedTuple):
    """By how much 20 more images of a label would raise its `recall` in the evaluation; 95 % interval."""

    label: str
    recall: Metric
    gain: float
    low: float
    high: float


def expected_gains(version: TrainingVersion) -> list[ExpectedGain]:
    """The gains of the labels, largest first.

    The learning curve belongs to a simpler model, which misses another share of the images. What carries over
    is by which part more images reduce that share, so this part is taken of what the version itself misses.
    """
    found = []
    for recall in version.metrics.filter(name=Metric.Name.RECALL, label__in=list(version.learning)):
        _, curve_recall, *gains = version.learning[recall.label]
        if recall.value is None or curve_recall >= 1:
            continue
        missed = 1 - recall.value
        gain, low, high = (min(missed, missed * part / (1 - curve_recall)) for part in gains)
        found.append(ExpectedGain(recall.label, recall, gain, low, high))
    return sorted(found, key=lambda expected: -expected.gain)


def _forecast_advice(version: TrainingVersion) -> list[Advice]:
    """The labels that gain most from more images."""
    labels = dict(Label.objects.filter(project=version.project_id).values_list("name", "pk"))
    lines = []
    for expected in expected_gains(version)[:MAX_GAINS]:
        if expected.gain < MIN_GAIN or expected.label not in labels:
            continue
        query = urlencode({"tab": "suggested", "suggestion": labels[expected.label]})
        url = f"{_label_data_url(version)}?{query}"
        lines.append(Advice(_gain_text(expected), gettext("Label similar images"), url))
    return lines


def _gain_text(expected: ExpectedGain) -> str:
    recall = expected.recall
    text = gettext(
        "20 more images of “%(label)s” would probably raise its recall from %(recall)s "
        "(%(hits)s of %(images)s) by %(gain)s points (%(low)s to %(high)s). "
        "This is a forecast from the label's learning curve."
    )
    return text % {
        "label": expected.label,
        "recall": three_decimals(recall.value),
        "hits": count(recall.hits or 0),
        "images": count(recall.support),
        "gain": points(expected.gain),
        "low": points(expected.low),
        "high": points(expected.high),
    }


def _time_limit_advice(version: TrainingVersion) -> list[Advice]:
    if version.stop_reason != StopReason.TIME_LIMIT:
        return []
    text = gettext("The search stopped at the time limit; more candidates could be tried.")
    url = reverse("configure_training", args=[version.project_id])
    return [Advice(text, gettext("Train with more time"), url)]


def _label_data_url(version: TrainingVersion) -> str:
    return reverse("label_data", args=[version.project_id])

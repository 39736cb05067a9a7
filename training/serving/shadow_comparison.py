"""A service's version and its shadow (or canary) on the same images of calls: agreement, accuracy, McNemar.

The label of an image is that of the same image in the project, else what somebody told about the call. An
image that was sent several times counts once; one that either version was trained on does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from cachetools import LRUCache
from django.db.models import QuerySet
from django.utils.translation import gettext, gettext_lazy, ngettext

from exeml_site.lib.bulk import chunks
from exeml_site.lib.display import count
from training.engine.evaluation.metrics import Rate, wilson
from training.engine.evaluation.significance import LEVEL, images_needed, mcnemar_p_value
from training.evaluation.comparison import p_text
from training.evaluation.uncertainty import round_up
from training.models import CollectedCall, Service, ShadowAnswer, ShadowCount, TrainingVersion
from training.serving.batches.truths import labels_of_project, trained_sha256s

MAX_READ = 10_000  # collected answers, the newest
NO_LABEL = gettext_lazy("no label")
MAX_PAIRS = 8  # of labels
Verdict = CollectedCall.Verdict
_trained_of = LRUCache[UUID, frozenset[str]](8)  # by the job id of a version; manifests never change
Words = tuple[str, str]  # the labels of the version and of its shadow


class DisputedPicture(NamedTuple):
    """A picture on which the versions differ; `truth` is None where its label is not known."""

    answer: ShadowAnswer
    truth: set[str] | None

    @property
    def labels(self) -> list[str]:
        return sorted(self.truth or ())

    @property
    def is_right(self) -> bool:
        return self.truth == set(self.answer.predicted)

    @property
    def is_shadow_right(self) -> bool:
        return self.truth == set(self.answer.shadow_predicted)


@dataclass(frozen=True)
class ShadowComparison:
    """Counts of the images that both versions predicted, and of those whose label is known."""

    version: TrainingVersion
    shadow: TrainingVersion
    percent: int | None  # of the calls that the shadow answers as the canary; None: it predicts no more
    counts: ShadowCount
    judged: int = 0
    both: int = 0  # right
    only_version: int = 0
    only_shadow: int = 0
    trained: int = 0
    knows_training: bool = True
    unjudged: int = 0  # pictures on which they differ, without a known label
    disagreements: list[DisputedPicture] = field(default_factory=list)  # those without a label first
    pairs: list[tuple[Words, int]] = field(
        default_factory=list
    )  # most frequent first, also without a picture

    @property
    def agreement(self) -> Rate:
        return wilson(self.counts.agreed, self.counts.images)

    @property
    def accuracy(self) -> Rate:
        return wilson(self.both + self.only_version, self.judged)

    @property
    def shadow_accuracy(self) -> Rate:
        return wilson(self.both + self.only_shadow, self.judged)

    @property
    def p(self) -> float:
        return mcnemar_p_value(self.only_version, self.only_shadow)

    @property
    def better(self) -> TrainingVersion | None:
        """The version that is reliably better, whatever the labels of the unjudged images turn out to be.

        People rather judge answers that look wrong. So the images on which the versions differ and that
        nobody has judged are taken to speak against the one that leads.
        """
        leads, trails = self.only_shadow, self.only_version
        if leads < trails:
            leads, trails = trails, leads
        against = trails + self.unjudged
        if leads <= against or mcnemar_p_value(leads, against) >= LEVEL:
            return None
        return self.shadow if self.only_shadow > self.only_version else self.version

    @property
    def summary(self) -> str:
        """The verdict as a sentence, with its counts and p."""
        return " ".join(sentence for sentence in self._sentences if sentence)

    @property
    def _sentences(self) -> tuple[str, ...]:
        names = {"other": self.shadow.name, "base": self.version.name}
        if self.better:
            worse = self.version if self.better == self.shadow else self.shadow
            text = gettext("%(other)s is better than %(base)s.")
            return text % {"other": self.better.name, "base": worse.name}, self._counts
        none_yet = gettext("There is no reliable difference between %(other)s and %(base)s yet.") % names
        if not self.judged:
            return none_yet, gettext("No image has a known label.")
        if self.only_shadow or self.only_version:
            return none_yet, self._counts, self._missing
        text = ngettext(
            "On %(count)s image with a known label, both are right or both are wrong.",
            "On each of the %(count)s images with a known label, both are right or both are wrong.",
            self.judged,
        )
        return none_yet, text % {"count": count(self.judged)}

    @property
    def _counts(self) -> str:
        text = ngettext(
            "Of %(count)s image with a known label, %(other)s alone got %(only_other)s right, and %(base)s "
            "alone %(only_base)s (%(p)s).",
            "Of %(count)s images with a known label, %(other)s alone got %(only_other)s right, and %(base)s "
            "alone %(only_base)s (%(p)s).",
            self.judged,
        )
        return text % {
            "count": count(self.judged),
            "other": self.shadow.name,
            "only_other": count(self.only_shadow),
            "base": self.version.name,
            "only_base": count(self.only_version),
            "p": p_text(self.p),
        }

    @property
    def _missing(self) -> str:
        """What would tell: labels of the images on which they differ, or more images."""
        if self.unjudged and self.p < LEVEL:
            text = ngettext(
                "They differ on %(count)s image without a label, which could change the result.",
                "They differ on %(count)s images without a label, which could change the result.",
                self.unjudged,
            )
            return text % {"count": count(self.unjudged)}
        needed = images_needed(self.only_version, self.only_shadow, self.judged)
        if needed is None:
            return ""
        more = round_up(max(needed - self.judged, 1))
        text = ngettext(
            "If the difference is real, about %(count)s more image with a label would show it.",
            "If the difference is real, about %(count)s more images with labels would show it.",
            more,
        )
        return text % {"count": count(more)}


def compare_shadow(service: Service) -> ShadowComparison | None:
    """The comparison with the shadow or canary, else with the last one there was; None without any."""
    shadow = service.canary_version
    pairs = service.shadow_counts.select_related("training_version", "shadow_version").order_by("-last_at")
    if shadow is None:
        counts, percent = pairs.first(), None
    else:
        known = pairs.filter(training_version=service.training_version, shadow_version=shadow).first()
        counts = known or ShadowCount(
            service=service, training_version=service.training_version, shadow_version=shadow
        )
        percent = service.canary_percent
    if counts is None:
        return None
    return _judged(counts, percent)


def _judged(counts: ShadowCount, percent: int | None) -> ShadowComparison:
    version, shadow = counts.training_version, counts.shadow_version
    of_pair = ShadowAnswer.objects.filter(
        service=counts.service, training_version=version, shadow_version=shadow
    )
    answers = _once_each(
        of_pair.exclude(collected=None).select_related("collected").order_by("-at")[:MAX_READ]
    )
    truths = _truths(counts.service, answers)
    trained = [_trained(version), _trained(shadow)] if answers else []
    learned = frozenset[str]().union(*(found or () for found in trained))
    hits = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    disagreements, unjudged, trained_count = list[DisputedPicture](), 0, 0
    for answer, truth in zip(answers, truths, strict=True):
        if _sha256(answer) in learned:
            trained_count += 1
            continue
        if truth is not None:
            hits[set(answer.predicted) == truth, set(answer.shadow_predicted) == truth] += 1
        if not answer.agrees:
            unjudged += truth is None
            disagreements.append(DisputedPicture(answer, truth))
    return ShadowComparison(
        version,
        shadow,
        percent,
        counts,
        judged=sum(hits.values()),
        both=hits[True, True],
        only_version=hits[True, False],
        only_shadow=hits[False, True],
        trained=trained_count,
        knows_training=None not in trained,
        unjudged=unjudged,
        disagreements=sorted(disagreements, key=lambda row: row.truth is not None),
        pairs=_pairs(of_pair),
    )


def labels_that_are_right(call: CollectedCall, version_id: int) -> list[str] | None:
    """What a version (by its id) predicted for a call that two versions predicted; None if it did not."""
    answer = ShadowAnswer.objects.filter(collected=call).first()
    if answer is None or version_id not in (answer.training_version_id, answer.shadow_version_id):
        return None
    labels = answer.predicted if version_id == answer.training_version_id else answer.shadow_predicted
    return list(labels)


def _pairs(answers: QuerySet[ShadowAnswer]) -> list[tuple[Words, int]]:
    rows = answers.filter(agrees=False).order_by("-at").values_list("predicted", "shadow_predicted")
    words = Counter(
        (", ".join(first) or str(NO_LABEL), ", ".join(second) or str(NO_LABEL))
        for first, second in rows[:MAX_READ]
    )
    return words.most_common(MAX_PAIRS)


def _once_each(answers: Iterable[ShadowAnswer]) -> list[ShadowAnswer]:
    """The newest answer of each image; a judged one before others, so that no verdict is lost."""
    found = dict[str, ShadowAnswer]()
    for answer in answers:
        earlier = found.setdefault(_sha256(answer), answer)
        if _verdict(answer) is not None and _verdict(earlier) is None:
            found[_sha256(answer)] = answer
    return list(found.values())


def _truths(service: Service, answers: list[ShadowAnswer]) -> list[set[str] | None]:
    """The labels of each image; None where they are not known."""
    labels = dict[str, list[str]]()
    for chunk in chunks([_sha256(answer) for answer in answers]):
        labels |= labels_of_project(service.project, chunk)
    is_multi_label = service.project.is_multi_label
    truths = list[set[str] | None]()
    for answer in answers:
        of_project = set(labels.get(_sha256(answer), []))
        is_usable = of_project and (is_multi_label or len(of_project) == 1)
        truths.append(of_project if is_usable else _verdict(answer))
    return truths


def _verdict(answer: ShadowAnswer) -> set[str] | None:
    """The labels that somebody told; None if nobody did, or only that the answer was wrong."""
    call = answer.collected
    if call is None or not call.verdict or (call.verdict == Verdict.WRONG and not call.true_labels):
        return None
    return set(call.true_labels)


def _sha256(answer: ShadowAnswer) -> str:
    return answer.collected.sha256 if answer.collected else ""


def _trained(version: TrainingVersion) -> frozenset[str] | None:
    """The images that the version was trained on; None where a manifest cannot be read. The page polls."""
    found = _trained_of.get(version.job_id)
    if found is None and (found := trained_sha256s(version)) is not None:
        _trained_of[version.job_id] = found
    return found

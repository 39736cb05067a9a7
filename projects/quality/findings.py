"""Read model of the Check Data page: number of images per issue, and label balance."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext, ngettext

from exeml_site.lib import display
from projects.datasets.readiness import MIN_IMAGES
from projects.labels.counts import images_per_label
from projects.models import Image, Label, Project
from projects.quality import issues
from projects.quality.issues import Issue

RECOMMENDED_IMAGES = 50  # per label, as the documentation of ExeML recommends
MAX_IMBALANCE = 5  # images of a label / images of the rarest label


@dataclass(frozen=True)
class IssueCount:
    check: Issue
    count: int


@dataclass(frozen=True)
class LabelBalance:
    """One label with its number of images and advice, which is empty where there are enough."""

    label: Label
    count: int
    advice: str


def issue_counts(project: Project) -> list[IssueCount]:
    """Number of images per issue, issues without images last; one query each."""
    images = Image.objects.alive().filter(project=project).order_by()
    counts = [
        IssueCount(issue, issues.images_with_issue(images, issue.name).count()) for issue in issues.ISSUES
    ]
    return sorted(counts, key=lambda row: not row.count)


def label_balance(project: Project) -> list[LabelBalance]:
    """Labels with too few images, or with far more than the rarest label; the rarest first."""
    counts = images_per_label(project)
    labels = sorted(
        Label.objects.filter(project=project), key=lambda label: (counts[label.pk], label.position)
    )
    fewest = min((counts[label.pk] for label in labels), default=0)
    rows = [LabelBalance(label, counts[label.pk], _advice(counts[label.pk], fewest)) for label in labels]
    return [row for row in rows if row.advice]


def _advice(images: int, fewest: int) -> str:
    if images < MIN_IMAGES:
        sentence = ngettext(
            "%(count)s more image is needed to train.",
            "%(count)s more images are needed to train.",
            MIN_IMAGES - images,
        )
        return sentence % {"count": display.count(MIN_IMAGES - images)}
    if images < RECOMMENDED_IMAGES:
        sentence = gettext("At least %(count)s images are recommended.")
        return sentence % {"count": display.count(RECOMMENDED_IMAGES)}
    if fewest >= MIN_IMAGES and images > MAX_IMBALANCE * fewest:
        sentence = gettext("%(ratio)s times as many images as the rarest label. Add images to the rarest.")
        return sentence % {"ratio": display.decimal(images / fewest, 0)}
    return ""

"""Read model of the Check Data page: number of images per issue, and label balance."""

from __future__ import annotations

from dataclasses import dataclass

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


def _advice(count: int, fewest: int) -> str:
    if count < MIN_IMAGES:
        return f"{MIN_IMAGES - count} more are needed before Train."
    if count < RECOMMENDED_IMAGES:
        return f"{RECOMMENDED_IMAGES} or more are recommended."
    if fewest >= MIN_IMAGES and count > MAX_IMBALANCE * fewest:
        return f"{count / fewest:.0f} times as many as the rarest label: add images to that one."
    return ""

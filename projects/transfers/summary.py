"""The summary of an import: its progress, the remaining time and the results of its files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.utils import timezone
from django.utils.translation import gettext_lazy

from projects.models import Image, RejectedFile, Transfer
from projects.transfers.import_plan import LabelsFrom
from projects.transfers.texts.reasons import translated

MAX_REJECTED_SHOWN = 100
MAX_VANISHED_SHOWN = 24
COUNT_TITLES = {
    "added": gettext_lazy("added"),
    "restored": gettext_lazy("restored from the bin"),
    "moved": gettext_lazy("renamed in the data source"),
    "present": gettext_lazy("already in the project"),
    "duplicate": gettext_lazy("duplicates of other files"),
    "labeled": gettext_lazy("labeled"),
    "refused": gettext_lazy("refused"),
}
# Every file of an archive has one of these outcomes.
FILE_TITLES = {
    "labeled": gettext_lazy("with a label"),
    "unlabeled": gettext_lazy("without a label"),
    "label_files": gettext_lazy("label files, read"),
    "system_files": gettext_lazy("system files, left out"),
    "left_out": gettext_lazy("left out"),
}
LABEL_SOURCE_TEXTS = {
    LabelsFrom.FOLDERS: gettext_lazy("Labels come from the folders."),
    LabelsFrom.TEXTS: gettext_lazy("Labels come from the text files."),
    LabelsFrom.MANIFEST: gettext_lazy("Labels come from label files."),
    LabelsFrom.TABLE: gettext_lazy("Labels come from tables."),
    LabelsFrom.NOTHING: gettext_lazy("Imported without labels."),
}


@dataclass(frozen=True)
class TransferSummary:
    """What the pages show of one import."""

    transfer: Transfer

    @property
    def percent(self) -> int | None:
        transfer = self.transfer
        return int(100 * transfer.cursor / transfer.total) if transfer.total else None

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the speed so far; None before the first chunk is done."""
        transfer = self.transfer
        if not transfer.is_active or not transfer.started_at or transfer.cursor == 0:
            return None
        elapsed = (timezone.now() - transfer.started_at).total_seconds()
        return elapsed / transfer.cursor * max(0, transfer.total - transfer.cursor)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """(title, number) of each result that occurred, in a fixed order."""
        counted = self.transfer.report.get("counts", {})
        return [(str(title), counted[name]) for name, title in COUNT_TITLES.items() if counted.get(name)]

    @property
    def total_files(self) -> int:
        """Files in the archive; 0 for an import without one."""
        return int(self.transfer.report.get("total_files", 0))

    @property
    def has_rows(self) -> bool:
        """Whether the import also works through rows about images that are not in its archive."""
        return 0 < self.total_files < self.transfer.total

    @property
    def file_counts(self) -> list[tuple[str, int]]:
        """(title, number) of each outcome of the archive's files; they add up to all of them."""
        counted = self.transfer.report.get("files", {})
        return [(str(title), counted[name]) for name, title in FILE_TITLES.items() if counted.get(name)]

    @property
    def merged_labels(self) -> list[tuple[str, str]]:
        """(spelling in the import, label) where they differ in upper and lower case alone."""
        return sorted(self.transfer.report.get("merged_labels", {}).items())

    @property
    def label_source_text(self) -> str:
        kind = self.transfer.report.get("labels_from", "")
        return str(LABEL_SOURCE_TEXTS.get(LabelsFrom(kind), "")) if kind in LabelsFrom.values else ""

    @cached_property
    def rejected_files(self) -> list[RejectedFile]:
        rows = list(self.transfer.rejected_files.all()[:MAX_REJECTED_SHOWN])
        for row in rows:
            row.reason = translated(row.reason)
        return rows

    @property
    def problem(self) -> str:
        """Why the import failed, in the language of the reader."""
        return translated(self.transfer.problem)

    @cached_property
    def rejected_count(self) -> int:
        return self.transfer.rejected_files.count()

    @cached_property
    def added_count(self) -> int:
        """How many images that the import added are not in the bin."""
        return Image.objects.alive().filter(transfer=self.transfer).count()


@dataclass(frozen=True)
class VanishedImages:
    """Images outside the bin whose file is not in the data source any more."""

    count: int
    images: list[Image]

    @property
    def more(self) -> int:
        return self.count - len(self.images)


def vanished_images(transfer: Transfer) -> VanishedImages:
    ids = transfer.report.get("vanished", [])
    if not ids or transfer.status != Transfer.Status.COMPLETED:
        return VanishedImages(0, [])
    images = Image.objects.alive().filter(project=transfer.project_id, pk__in=ids[:5000])
    return VanishedImages(images.count(), list(images.order_by("pk")[:MAX_VANISHED_SHOWN]))

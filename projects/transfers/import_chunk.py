"""The transaction of one chunk of an import: inserts images, labels them, and writes what was rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext_noop

from projects.formats.manifest import EntryLabel
from projects.images import upload
from projects.labels import bulk_import, metadata
from projects.models import Image, RejectedFile, Split, Transfer
from projects.transfers.described_images import ImportItem, ItemKind, stricter_split
from projects.transfers.source_files import SourceFiles
from projects.transfers.texts.reasons import LABEL_REJECTED, METADATA_LEFT_OUT, with_beginning
from projects.usage import quotas

CONFLICTING_DUPLICATE = gettext_noop(
    "The same image occurs twice with different labels: the first label was kept."
)
MAX_MERGED_TOLD = 100
LABELS_KEPT = gettext_noop("The image was already in the project; its labels were kept.")


@dataclass(frozen=True)
class ReadItem:
    """One item of the plan as read from its file: a stored image, an image of the project, or a `reason`.

    `remark`: why the image is imported without its label.
    """

    item: ImportItem
    picture: upload.StoredImage | None = None
    entry_labels: tuple[EntryLabel, ...] = ()
    reason: str = ""
    remark: str = ""

    def image_id(self, images: dict[str, int]) -> int | None:
        """The key of its image, new or present; `images` maps sha256 to key."""
        return images.get(self.picture.sha256) if self.picture else self.item.image_id

    @property
    def weight(self) -> int:
        """About how many rows it writes."""
        return 1 + len(self.entry_labels) + len(self.item.values)


class ChunkWriter:
    """Writes chunks of an import. `counts` and `files` add up what happened, for the report.

    `merged`: spelling in the import → label of the project that differs in upper and lower case alone.
    `files`: every file of the source once: `labeled`, `unlabeled`, `label_files`, `system_files`, `left_out`.
    """

    def __init__(self, transfer: Transfer, source_files: SourceFiles | None = None) -> None:
        self.transfer, self.project, self.source_files = transfer, transfer.project, source_files
        self.counts = Counter[str](transfer.report.get("counts", {}))
        self.files = Counter[str](transfer.report.get("files", {}))
        self.merged: dict[str, str] = dict(transfer.report.get("merged_labels", {}))

    @property
    def report(self) -> dict[str, Any]:
        """What the report of the import says after the chunks written so far."""
        return {"counts": dict(self.counts), "files": dict(self.files), "merged_labels": self.merged}

    def write(self, read_items: Sequence[ReadItem]) -> None:
        """Write the items, inside a transaction of the caller."""
        images, moved = self._move_renamed(read_items)
        pictures = [without_exif(read.picture, read.item.values) for read in read_items if read.picture]
        images |= self._insert_images(pictures, moved)
        labeled, unlabeled = self._choose_labels(read_items, images)
        values, invalid = self._choose_values(read_items, images)
        unlabeled += invalid
        kept = self._import_labels({pk: read.entry_labels for pk, read in labeled.items()}, values)
        unlabeled += [(labeled[pk].item, LABELS_KEPT) for pk in kept]
        self._set_splits(read_items, images)
        refused = [(read.item, read.reason) for read in read_items if read.reason and _is_told(read.item)]
        self.counts["refused"] += len(refused)
        self.counts["present"] += sum(read.item.image_id is not None for read in read_items)
        self._count_files(read_items, images)
        RejectedFile.objects.bulk_create(
            RejectedFile(transfer=self.transfer, name=(item.path or item.name)[:1024], reason=reason[:500])
            for item, reason in refused + unlabeled
        )

    def _move_renamed(self, read_items: Sequence[ReadItem]) -> tuple[dict[str, int], set[str]]:
        """Images of a data source whose files were renamed: sha256 → key, and their sha256."""
        moved: dict[str, int] = {}
        if self.source_files is not None:
            for read in read_items:
                if read.picture and read.picture.sha256 not in moved:
                    pk = self.source_files.move(read.picture)
                    moved |= {read.picture.sha256: pk} if pk is not None else {}
        self.counts["moved"] += len(moved)
        return moved, set(moved)

    def _insert_images(self, pictures: Sequence[upload.StoredImage], moved: set[str]) -> dict[str, int]:
        """Insert the images that are new. The key of each image by its sha256."""
        others = [picture for picture in pictures if picture.sha256 not in moved]
        quotas.check_storage(self.project.team, sum(picture.size_bytes for picture in others))
        rows = upload.insert_images(self.project, others, self.transfer.by, transfer=self.transfer)
        self.counts["added"] += len(rows.added)
        self.counts["restored"] += len(rows.restored)
        self.counts["duplicate"] += len(pictures) - len(moved) - len(rows.added) - len(rows.restored)
        return {sha256: image.pk for sha256, image in (rows.added | rows.existing).items()}

    def _choose_labels(
        self, read_items: Sequence[ReadItem], images: dict[str, int]
    ) -> tuple[dict[int, ReadItem], list[tuple[ImportItem, str]]]:
        """The item whose labels each image gets, by the image's key, and the rejected items with reasons."""
        chosen: dict[int, ReadItem] = {}
        rejected = [(read.item, read.remark) for read in read_items if read.remark and not read.reason]
        for read in read_items:
            pk, labels = read.image_id(images), read.entry_labels
            if pk is None or read.reason or not labels:
                continue
            if reason := bulk_import.labels_problem(self.project, labels):
                rejected.append((read.item, with_beginning(LABEL_REJECTED, reason)))
            elif pk not in chosen:
                chosen[pk] = read
            elif self.project.is_multi_label:
                chosen[pk] = replace(chosen[pk], entry_labels=(*chosen[pk].entry_labels, *labels))
            elif {label.name for label in labels} != {label.name for label in chosen[pk].entry_labels}:
                rejected.append((read.item, CONFLICTING_DUPLICATE))
        return chosen, rejected

    def _choose_values(
        self, read_items: Sequence[ReadItem], images: dict[str, int]
    ) -> tuple[dict[int, Mapping[str, str]], list[tuple[ImportItem, str]]]:
        """The metadata of each image, by its key, and the items whose metadata is not valid, with reasons."""
        values: dict[int, Mapping[str, str]] = {}
        rejected = []
        for read in read_items:
            pk = read.image_id(images)
            if pk is None or read.reason or not read.item.values:
                continue
            if problem := metadata.values_problem(read.item.values):
                rejected.append((read.item, with_beginning(METADATA_LEFT_OUT, problem)))
            else:
                values[pk] = {**read.item.values, **values.get(pk, {})}
        return values, rejected

    def _import_labels(
        self, labels: dict[int, tuple[EntryLabel, ...]], values: dict[int, Mapping[str, str]]
    ) -> list[int]:
        """Label images and set metadata, by key. The keys of those that keep other labels they had before."""
        result = bulk_import.import_labels(
            self.project,
            labels,
            self.transfer.by,
            replaces=self.transfer.options.get("existing") == "replace",
            details={"transfer": self.transfer.pk},
            values=values,
        )
        self.counts["labeled"] += result.labeled
        for spelling, name in result.merged.items():
            if len(self.merged) < MAX_MERGED_TOLD:
                self.merged[spelling] = name
        return result.kept

    def _set_splits(self, read_items: Sequence[ReadItem], images: dict[str, int]) -> None:
        """Set the imported split on images that have none, and mark hard examples.

        Of equal files of this import, one among the test images makes their image a test image.
        """
        splits: dict[int, str] = {}
        hard: list[int] = []
        for read in read_items:
            pk = read.image_id(images)
            if pk is not None and not read.reason:
                splits[pk] = stricter_split(splits.get(pk, ""), read.item.split)
                hard += [pk] if read.item.is_hard else []
        tests = [pk for pk, split in splits.items() if split == Split.TEST]
        Image.objects.filter(pk__in=tests, transfer=self.transfer).update(split=Split.TEST)
        bulk_import.import_splits(self.project, splits)
        if hard:
            Image.objects.filter(pk__in=hard).update(is_hard=True)

    def _count_files(self, read_items: Sequence[ReadItem], images: dict[str, int]) -> None:
        ids = [pk for read in read_items if (pk := read.image_id(images)) is not None]
        labeled = set(Image.objects.labeled().filter(pk__in=ids).values_list("pk", flat=True))
        for read in read_items:
            if read.item.is_file:
                self.files[_outcome(read, labeled, images)] += 1


def without_exif(picture: upload.StoredImage, values: Mapping[str, str]) -> upload.StoredImage:
    """The picture without what its file says of columns for which the import has a value."""
    named = {metadata.clean_text(name).lower() for name in values}
    exif = {name: value for name, value in picture.decoded.exif.items() if name.lower() not in named}
    return replace(picture, decoded=replace(picture.decoded, exif=exif))


def _is_told(item: ImportItem) -> bool:
    """Whether a file that is not imported is listed by name: label files that were read are not."""
    return item.kind not in (ItemKind.LABEL_FILE, ItemKind.SYSTEM_FILE)


def _outcome(read: ReadItem, labeled: set[int], images: dict[str, int]) -> str:
    kinds = {ItemKind.LABEL_FILE: "label_files", ItemKind.SYSTEM_FILE: "system_files"}
    if read.item.kind in kinds:
        return kinds[read.item.kind]
    if read.reason:
        return "left_out"
    return "labeled" if read.image_id(images) in labeled else "unlabeled"


def batches(read_items: Sequence[ReadItem], weight: int) -> Iterator[list[ReadItem]]:
    """The items in order, in batches that write about `weight` rows each, one item at least."""
    batch: list[ReadItem] = []
    total = 0
    for read in read_items:
        if batch and total + read.weight > weight:
            yield batch
            batch, total = [], 0
        batch.append(read)
        total += read.weight
    if batch:
        yield batch

"""Images of the project as a batch. The list is kept from the start: a resumed batch has the same order."""

from __future__ import annotations

import json
import os
from pathlib import Path

from django.utils.translation import gettext_noop

from exeml_site.lib.bulk import chunks
from projects.models import Image
from projects.transfers.described_images import ImportItem, ItemKind
from training.models import Batch
from training.serving.batches.truths import trained_sha256s

GONE = gettext_noop("The image was deleted.")
Selection = Batch.Selection


def items_of(batch: Batch, path: Path) -> list[ImportItem]:
    """The images of the batch's selection in the order of the project; the list is kept in `path`."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(_image_ids(batch)))
        os.replace(fresh, path)
    ids: list[int] = json.loads(path.read_text())
    names = dict[int, str]()
    for chunk in chunks(ids):
        names.update(Image.objects.alive().filter(pk__in=chunk).values_list("pk", "name"))
    return [_item(image_id, names.get(image_id)) for image_id in ids]


def _item(image_id: int, name: str | None) -> ImportItem:
    if name is None:
        return ImportItem(f"image {image_id}", problem=GONE, kind=ItemKind.ROW)
    return ImportItem(name, image_id=image_id)


def _image_ids(batch: Batch) -> list[int]:
    images = Image.objects.alive().filter(project=batch.service.project_id).order_by("pk")
    if batch.selection == Selection.UNLABELED:
        return list(images.unlabeled().values_list("pk", flat=True))
    rows = images.labeled().values_list("pk", "sha256")
    trained = trained_sha256s(batch.training_version) if batch.selection == Selection.NOT_TRAINED else None
    return [image_id for image_id, sha256 in rows if sha256 not in (trained or ())]

"""Files of a data source and the images that came from them. An image is its content, not its address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from projects.images.upload import StoredImage
from projects.models import Image, Project
from projects.transfers import data_source
from projects.transfers.described_images import ImportItem
from projects.transfers.file_sources import SourceFile


class _Known(NamedTuple):
    pk: int
    sha256: str
    size: int


@dataclass
class SourceFiles:
    """The files of a data source as listed now, and the images of the project that came from it."""

    project: Project
    address: str
    sizes: dict[str, int]  # path → bytes
    _by_address: dict[str, _Known] = field(default_factory=dict)
    _missing: dict[str, _Known] = field(default_factory=dict)  # by content: images whose address is gone

    @classmethod
    def of(cls, project: Project, address: str, files: Iterable[SourceFile]) -> SourceFiles:
        found = cls(project, address, {file.path: file.size for file in files})
        rows = Image.objects.filter(project=project, source__startswith=data_source.file_address(address, ""))
        for source, pk, sha256, size in rows.values_list("source", "pk", "sha256", "size_bytes"):
            found._by_address[source] = _Known(pk, sha256, size)
        addresses = {found.address_of(path) for path in found.sizes}
        missing = {source: known for source, known in found._by_address.items() if source not in addresses}
        found._missing = {known.sha256: known for known in missing.values()}
        return found

    def address_of(self, path: str) -> str:
        return data_source.file_address(self.address, path)

    def as_present(self, item: ImportItem) -> ImportItem:
        """The item as one that names its image, if that came from the same file: it is not read again."""
        known = self._by_address.get(self.address_of(item.path))
        if known is None or known.size != self.sizes.get(item.path):
            return item
        return replace(item, path="", image_id=known.pk, entry_labels=(), text_path="")

    def move(self, picture: StoredImage) -> int | None:
        """Give the image whose file was renamed its new address; its id, or None if there is no such image.

        An image in the bin stays there.
        """
        known = self._missing.get(picture.sha256)
        if known is None:
            return None
        Image.objects.filter(pk=known.pk).update(source=picture.source, name=picture.name)
        return known.pk

    def vanished(self) -> list[int]:
        """Ids of images outside the bin whose content is at no address of the source any more."""
        addresses = {self.address_of(path) for path in self.sizes}
        base = data_source.file_address(self.address, "")
        alive = Image.objects.alive().filter(project=self.project, source__startswith=base)
        return sorted(pk for pk, source in alive.values_list("pk", "source") if source not in addresses)

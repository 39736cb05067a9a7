"""The test images of a project: how many each label has, and the choice of some for a final test.

An image that some dataset version had in its training split cannot judge versions that were trained on it.
Such images are chosen only if a person wants them.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from django.utils.translation import gettext

from projects.datasets import publish, readiness
from projects.datasets.split import LabeledImage
from projects.models import DatasetVersion, Image, Label, Project, Split


@dataclass(frozen=True)
class LabelTests:
    """Images of one label: test images, and those that training and validation use."""

    label: Label
    test: int
    others: int


@dataclass(frozen=True)
class ChosenImages:
    """Images for a final test. `trained`: those of them that an earlier dataset version trained on.

    `available`: how many images could have been chosen.
    """

    images: list[int]
    trained: int
    available: int

    @property
    def why_nothing(self) -> str:
        """Why none was chosen, as a sentence."""
        if not self.available:
            return gettext(
                "Every labeled image was used for training by an earlier version. Add new images, or also "
                "take images that earlier versions were trained on."
            )
        return gettext("No image can be kept: every label needs five images for training and validation.")


def tests_of_labels(project: Project) -> list[LabelTests]:
    """The numbers of each label, in the order of the labels."""
    tests = readiness.test_images_of_labels(project)
    others = readiness.readiness(project).label_counts  # without the test images
    return [LabelTests(label, tests[label.pk], images) for label, images in others]


def count_test_images(project: Project) -> int:
    return Image.objects.alive().filter(project=project, split=Split.TEST).count()


def count_labeled(project: Project) -> int:
    """Labeled images that are no test images."""
    return Image.objects.labeled().filter(project=project).exclude(split=Split.TEST).count()


def trained_image_ids(project: Project) -> set[int]:
    """Ids of the images that were in the training split of any dataset version of the project."""
    trained = set(project.images.filter(split=Split.TRAIN).values_list("pk", flat=True))
    for version in project.dataset_versions.exclude(published_at=None):
        trained |= _trained_ids(version.pk, version.sha256)
    return trained


def dataset_versions_with(project: Project, image_ids: Iterable[int]) -> list[str]:
    """Names of the dataset versions that have any of the images in their training split, oldest first."""
    wanted = frozenset(image_ids)
    versions = project.dataset_versions.exclude(published_at=None).order_by("pk")
    return [version.name for version in versions if wanted & _trained_ids(version.pk, version.sha256)]


@lru_cache(maxsize=64)
def _trained_ids(pk: int, sha256: str) -> frozenset[int]:
    """Ids of the training images of a dataset version; manifests never change. Empty if it is damaged."""
    try:
        entries = publish.read_entries(DatasetVersion.objects.get(pk=pk))
    except publish.ManifestDamaged:
        return frozenset()
    return frozenset(
        entry.image_id for entry in entries if entry.usage == Split.TRAIN and entry.image_id is not None
    )


def choose(project: Project, wanted: int, *, takes_trained: bool) -> ChosenImages:
    """Choose about `wanted` labeled images by the shares of the labels, always the same; duplicates and
    images that are never split stay together.

    Images that no dataset version has split come first, then validation images, then, if `takes_trained`,
    images that were trained on. Every label keeps at least MIN_IMAGES images for training and validation.
    """
    trained = trained_image_ids(project)
    images = [image for image in readiness.labeled_images(project) if image.split != Split.TEST]
    rank = {image.id: _rank(image, trained) for image in images}
    free = [image for image in images if takes_trained or rank[image.id] < TRAINED]
    if not takes_trained:
        # One trained image is enough: its duplicates and the images bound to it are as good as trained on.
        units = {image.unit for image in images if rank[image.id] == TRAINED}
        free = [image for image in free if image.unit not in units]
    chosen = _stratified(free, images, wanted, rank, str(project.pk))
    return ChosenImages(sorted(chosen), len(trained & chosen), len(free))


UNSPLIT, VALIDATED, TRAINED = 0, 1, 2


def _rank(image: LabeledImage, trained: set[int]) -> int:
    if image.id in trained:
        return TRAINED
    return UNSPLIT if not image.split else VALIDATED


def _stratified(
    free: Sequence[LabeledImage],
    images: Sequence[LabeledImage],
    wanted: int,
    rank: Mapping[int, int],
    seed: str,
) -> set[int]:
    """Ids of images among `free`: of each label its share of `wanted`, the rarest label first."""
    totals = Counter(label for image in images for label in image.labels)
    most = {label: max(total - readiness.MIN_IMAGES, 0) for label, total in totals.items()}
    missing = _shares(totals, min(wanted / max(len(images), 1), 1), most)
    left, chosen = dict(most), set[int]()
    units_of_label: dict[str | int, list[list[LabeledImage]]] = defaultdict(list)
    for unit in _units(free, rank, seed):
        for label in {label for image in unit for label in image.labels}:
            units_of_label[label].append(unit)
    for label in sorted(totals, key=lambda label: (totals[label], str(label))):
        for unit in units_of_label[label]:
            if missing[label] <= 0 or len(chosen) >= wanted:
                break
            labels = Counter(name for image in unit for name in image.labels)
            fits = len(chosen) + len(unit) <= wanted and all(
                number <= left[name] for name, number in labels.items()
            )
            if fits and unit[0].id not in chosen:
                chosen.update(image.id for image in unit)
                for name, number in labels.items():
                    missing[name] -= number
                    left[name] -= number
    return chosen


def _shares(
    totals: Mapping[str | int, int], share: float, most: Mapping[str | int, int]
) -> dict[str | int, int]:
    """`share` of each label's images, by largest remainders, at most `most` of each."""
    exact = {label: share * number for label, number in totals.items()}
    shares = {label: min(int(number), most[label]) for label, number in exact.items()}
    left = round(sum(exact.values())) - sum(shares.values())
    by_rest = sorted(exact, key=lambda label: (int(exact[label]) - exact[label], str(label)))
    while left > 0 and any(shares[label] < most[label] for label in by_rest):
        for label in by_rest:
            if left > 0 and shares[label] < most[label]:
                shares[label] += 1
                left -= 1
    return shares


def _units(images: Sequence[LabeledImage], rank: Mapping[int, int], seed: str) -> list[list[LabeledImage]]:
    """Images that are assigned together, the best rank first, then in the order of their hashes."""
    units: dict[tuple[str, int], list[LabeledImage]] = {}
    for image in images:
        units.setdefault(image.unit, []).append(image)

    def order(unit: list[LabeledImage]) -> tuple[int, bytes]:
        first = min(hashlib.sha256(f"test:{seed}:{image.sha256}".encode()).digest() for image in unit)
        return max(rank[image.id] for image in unit), first

    return sorted(units.values(), key=order)

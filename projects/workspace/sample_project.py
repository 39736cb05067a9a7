"""The sample project: scikit-learn's 1,797 real scans of handwritten digits, most of them labeled."""

from __future__ import annotations

import hashlib
import io
import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from PIL import Image as Pillow

from exeml_site.lib.storage import save_whole
from projects.images.decode import decode_image
from projects.images.thumbnail import make_thumbnail
from projects.models import Annotation, AnnotationSource, Image, Label, Project, Team

NAME = "handwritten-digits"
DESCRIPTION = gettext_noop(
    "A sample: 1,797 scans of handwritten digits, 200 of them unlabeled. It can be trained right away."
)
IMAGE_SIZE = 64  # pixels; the scans have 8 × 8 grey values
UNLABELED_PER_DIGIT = 20  # of each digit
# The hot keys follow the order of the labels, so key 1 gives “1”.
DIGIT_ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


@dataclass(frozen=True)
class Scan:
    """One digit as a PNG file; `is_labeled` is false for those that people label."""

    digit: int
    name: str
    png: bytes
    is_labeled: bool


def make_sample_project(team: Team, by: User | None) -> Project:
    """Create a project with all scans, their files and thumbnails; the rows in one transaction."""
    with transaction.atomic():
        description = gettext(DESCRIPTION)
        project = Project.objects.create(team=team, name=NAME, description=description, created_by=by)
        labels = _make_labels(project)
        scans = read_scans()
        images = _store(project, scans, by)
        Image.objects.bulk_create(images)
        now = timezone.now()
        Annotation.objects.bulk_create(
            Annotation(image=image, label=labels[scan.digit], by=by, source=AnnotationSource.SAMPLE, at=now)
            for scan, image in zip(scans, images, strict=True)
            if scan.is_labeled
        )
    return project


def read_scans() -> list[Scan]:
    """The scans in scikit-learn's order, which mixes the digits. Takes a second: it imports scikit-learn."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    truths = [int(truth) for truth in digits.target]
    unlabeled = _choose_unlabeled(truths)
    return [
        Scan(truth, f"scan-{number:04d}.png", _as_png(pixels), number not in unlabeled)
        for number, (pixels, truth) in enumerate(zip(digits.images, truths, strict=True))
    ]


def _choose_unlabeled(truths: list[int]) -> set[int]:
    """Numbers of the scans left unlabeled: always the same choice, equally many of each digit."""
    numbers: dict[int, list[int]] = defaultdict(list)
    for number, truth in enumerate(truths):
        numbers[truth].append(number)
    rng = random.Random(0)
    return {number for digit in sorted(numbers) for number in rng.sample(numbers[digit], UNLABELED_PER_DIGIT)}


def _as_png(pixels: np.ndarray) -> bytes:
    """Dark ink on white paper as PNG. `pixels`: [8, 8], 0 (paper) to 16 (ink)."""
    grey = np.rint(255 - pixels * (255 / 16)).astype(np.uint8)
    out = io.BytesIO()
    Pillow.fromarray(grey).resize((IMAGE_SIZE, IMAGE_SIZE), Pillow.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


def _make_labels(project: Project) -> dict[int, Label]:
    labels = Label.objects.bulk_create(
        Label(project=project, name=str(digit), position=position, colour=position, hot_key=str(digit))
        for position, digit in enumerate(DIGIT_ORDER)
    )
    return dict(zip(DIGIT_ORDER, labels, strict=True))


def _store(project: Project, scans: list[Scan], by: User | None) -> list[Image]:
    """Write the files and return unsaved rows. Threads help, since each write waits for the disk."""
    with ThreadPoolExecutor(16) as threads:
        return list(threads.map(lambda scan: _store_scan(project, scan, by), scans))


def _store_scan(project: Project, scan: Scan, by: User | None) -> Image:
    seen, thumbnail = decode_image(scan.png), make_thumbnail(scan.png)
    brightness, sharpness = thumbnail.measures()
    image = Image(
        project=project,
        sha256=hashlib.sha256(scan.png).hexdigest(),
        name=scan.name,
        format=seen.format,
        width=seen.width,
        height=seen.height,
        brightness=brightness,
        sharpness=sharpness,
        size_bytes=len(scan.png),
        uploaded_by=by,
        is_labeled=scan.is_labeled,
    )
    save_whole(image.file_name, scan.png)
    save_whole(image.thumbnail_name, thumbnail.content)
    return image

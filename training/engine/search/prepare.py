"""What a fit does before it learns: refuse what cannot work, tidy the work folder, fill the pixel cache."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.engine.backbones import registry
from training.engine.bundle import writer
from training.engine.bundle.writer import IdHashes
from training.engine.config import EngineError, FitConfig, Sample
from training.engine.data import duplicates, images
from training.engine.search import budget, linear_head, linear_probe
from training.engine.search.clock import RunClock, read_json, save_array, write_json
from training.engine.search.scoring import Floats, balanced_weights
from training.engine.search.state import Search

LASTING_FILES = ("clock.json", "fingerprint.json")  # of a checkpoint whose search begins anew
RESTART_RATIO = 1.5  # times the limit of the run that left images out
REMEDY_LABELS = "Label at least five images with each of two labels."


def prepare_workdir(workdir: Path, train: list[Sample], config: FitConfig) -> None:
    """Write config.json; a checkpoint of other samples or another configuration is thrown away."""
    checkpoint = workdir / "checkpoint"
    facts = [(one.id, str(one.path), one.labels) for one in train]
    settings = (config.seed, config.hardware, config.is_multi_label, str(config.base_bundle))
    fingerprint = hashlib.sha256(repr((facts, settings)).encode()).hexdigest()
    stored = read_json(checkpoint / "fingerprint.json")
    if stored != fingerprint:
        shutil.rmtree(checkpoint, ignore_errors=True)
        (workdir / "events.jsonl").unlink(missing_ok=True)
    checkpoint.mkdir(parents=True, exist_ok=True)
    writer.restore_swapped(workdir / "bundle")
    write_json(checkpoint / "fingerprint.json", fingerprint)
    described = asdict(config) | {"base_bundle": str(config.base_bundle) if config.base_bundle else None}
    write_json(workdir / "config.json", described)


def label_names(train: Sequence[Sample]) -> tuple[str, ...]:
    labels = tuple(sorted({label for sample in train for label in sample.labels}))
    if not train or not labels:
        raise EngineError("There are no labeled images to train with.", REMEDY_LABELS)
    if len(labels) < 2:
        raise EngineError(f"All images carry the same label, {labels[0]}.", REMEDY_LABELS)
    return labels


def _targets(samples: Sequence[Sample], labels: tuple[str, ...]) -> Floats:
    """[N, C] ones where a sample carries a label."""
    position = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(samples), len(labels)), np.float32)
    for row, sample in enumerate(samples):
        table[row, [position[label] for label in sample.labels]] = 1
    return table


def _refuse_unusable(targets: Floats, labels: tuple[str, ...]) -> None:
    if not len(targets):
        raise EngineError("None of the images can be read.", "Upload them again as JPG, PNG or BMP.")
    for label, count in zip(labels, targets.sum(axis=0), strict=True):
        if count < 2:
            raise EngineError(f"The label {label} has fewer than two readable images.", REMEDY_LABELS)


def load_training_data(
    train: list[Sample],
    labels: tuple[str, ...],
    config: FitConfig,
    workdir: Path,
    clock: RunClock,
    threads: int,
) -> tuple[Search, tuple[str, ...]]:
    """Decode the pixels, or map those of a killed run; gives the search and the ids that cannot be read."""
    cache = workdir / "checkpoint" / "pixels.npy"
    with clock.phase("pixels", f"Reading {len(train)} images"):
        stored = _decode_or_resume(train, labels, config, cache, clock, threads)
    kept = [train[row] for row in stored["rows"]]
    bad = {int(row): cause for row, cause in stored["unreadable"].items()}
    good = [row for row in range(len(kept)) if row not in bad]
    unreadable = tuple(kept[row].id for row in sorted(bad))
    if unreadable:
        clock.emit("note", f"{len(unreadable)} images cannot be read and are left out.")
    table = images.open_cache(cache)
    targets = _targets([kept[row] for row in good], labels)
    _refuse_unusable(targets, labels)
    squares = table[: len(good)]
    with clock.phase("pixels", "Looking for copies of the same picture"):
        groups = _duplicate_groups(squares, threads, clock, workdir / "checkpoint" / "groups.npy")
    marks = writer.hash_ids(kept[row].id for row in good)
    inherited = writer.read_trained_on(config.base_bundle) if config.base_bundle else marks[:0]
    search = Search(
        config=config,
        clock=clock,
        workdir=workdir,
        labels=labels,
        marks=marks,
        trained_on=np.union1d(marks, inherited),
        base_marks=_base_hashes(marks, inherited, len(labels), clock),
        paths=[kept[row].path for row in good],
        pixels=squares,
        targets=targets,
        weights=balanced_weights(targets),
        groups=groups,
        folds=linear_head.make_folds(targets, budget.fold_count(len(good)), config.seed, groups),
        threads=threads,
        device=_device(config),
    )
    return search, unreadable


def _base_hashes(marks: IdHashes, inherited: IdHashes, labels: int, clock: RunClock) -> IdHashes:
    """The marks that the base has seen; none where too few images would be left to judge its networks."""
    seen = np.intersect1d(marks, inherited)
    if len(marks) - len(seen) < max(budget.MIN_UNSEEN, budget.MIN_UNSEEN_PER_LABEL * labels):
        if len(seen):
            clock.emit("note", "The base has seen most of these images: the accuracy so far is hopeful.")
        return marks[:0]
    return seen


class _DuplicateSearchTooLong(Exception):
    """Looking for copies takes more of the limit than it is worth."""


def _duplicate_groups(squares: images.Pixels, threads: int, clock: RunClock, kept: Path) -> NDArray[np.int64]:
    """[N] group numbers, the same for copies of one picture; told where there are any."""
    if not kept.exists():
        save_array(kept, _find_groups(squares, threads, clock))
    groups: NDArray[np.int64] = np.load(kept)
    copies = len(groups) - len(np.unique(groups))
    if copies:
        clock.emit("note", f"{copies} images are copies of others: copies are held out together.")
    return groups


def _find_groups(squares: images.Pixels, threads: int, clock: RunClock) -> NDArray[np.int64]:
    """Every picture alone where the search for copies takes too long."""
    deadline = clock.elapsed() + budget.DUPLICATES_SHARE * clock.max_seconds

    def tick() -> None:
        clock.tick()
        if clock.elapsed() > deadline:
            raise _DuplicateSearchTooLong

    try:
        return budget.usable_groups(duplicates.duplicate_groups(squares, threads, tick))
    except _DuplicateSearchTooLong:
        clock.is_short = True
        clock.emit("note", "The time limit is too short to look for copies of the same picture.")
        return np.arange(len(squares))


def _decode_or_resume(
    train: list[Sample],
    labels: tuple[str, ...],
    config: FitConfig,
    cache: Path,
    clock: RunClock,
    threads: int,
) -> dict[str, Any]:
    """What `_decode` gives, now or in a killed run. A much longer limit than that of a run which left images
    out begins anew, with the time used."""
    notes = cache.with_suffix(".json")
    stored: dict[str, Any] = read_json(notes) or {}
    is_longer = bool(stored) and config.max_seconds > RESTART_RATIO * stored.get("max_seconds", 0)
    if is_longer and _left_images_out(stored, len(train), cache.with_name(linear_probe.HEAD_ROWS_FILE)):
        clock.emit("note", "There is time for images that were left out: the search begins anew.")
        _discard_checkpoint(notes, cache.parent)
        stored = {}
    if not stored or not cache.exists():
        stored = _decode(train, labels, config, cache, clock, threads)
        write_json(notes, stored)
    return stored


def _left_images_out(stored: dict[str, Any], count: int, head_rows: Path) -> bool:
    """Did the cache, or the heads for lack of time, leave images out?"""
    readable = len(stored["rows"]) - len(stored["unreadable"])
    taught = len(np.load(head_rows)) if head_rows.exists() else readable
    return len(stored["rows"]) < count or taught < min(readable, budget.MAX_HEAD_ROWS)


def _discard_checkpoint(notes: Path, checkpoint: Path) -> None:
    """All but the clock and whose checkpoint it is; a run that is killed here forgets the rest next time."""
    for path in checkpoint.iterdir():
        if path != notes and path.name not in LASTING_FILES:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    notes.unlink()


def _decode(
    train: list[Sample],
    labels: tuple[str, ...],
    config: FitConfig,
    cache: Path,
    clock: RunClock,
    threads: int,
) -> dict[str, Any]:
    """Fill the cache; gives {"rows": chosen samples, "unreadable": {row: why}, "max_seconds": the limit}."""
    chosen, side = _choose_rows_and_side(train, labels, config, clock, threads)
    paths = [train[row].path for row in chosen]

    def tick(done: int) -> None:
        clock.tick(done / len(paths))

    problems = images.decode_all(paths, side, cache, threads, tick)
    if problems:
        images.compact_rows(cache, problems.keys())
    unreadable = {str(row): cause for row, cause in sorted(problems.items())}
    return {"rows": chosen, "unreadable": unreadable, "max_seconds": config.max_seconds}


def _choose_rows_and_side(
    train: list[Sample], labels: tuple[str, ...], config: FitConfig, clock: RunClock, threads: int
) -> tuple[list[int], int]:
    """Which samples can be read in time (all, unless the limit is short), and the side of the cache."""
    random = np.random.default_rng(config.seed)
    probe = random.permutation(len(train))[:16]
    largest = max(size for network in registry.available_networks() for size in network.resolutions)
    long_sides, began = [], time.monotonic()
    for row in probe:
        try:
            with Image.open(train[row].path) as image:
                long_sides.append(max(image.size))
            images.read_square(train[row].path, largest)
        except (OSError, EngineError, ValueError):
            continue
    image_s = (time.monotonic() - began) / len(probe) / threads
    count = budget.rows_that_fit(len(train), image_s, clock.left())
    if count == len(train):
        return list(range(count)), budget.cache_side(long_sides, largest)
    clock.is_short = True
    clock.emit("note", f"Only {count} of {len(train)} images can be read in the time limit.")
    folds = linear_head.make_folds(_targets(train, labels), -(-len(train) // count), config.seed)
    return np.flatnonzero(folds == 0).tolist(), budget.cache_side(long_sides, largest)


def _device(config: FitConfig) -> str:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise EngineError("There is no GPU on this machine.", "Choose a CPU flavor.")
    return "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"

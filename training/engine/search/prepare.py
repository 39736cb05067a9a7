"""What a fit does before it trains: check labels, prepare the folder, decode images, find duplicates."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine.backbones import registry
from training.engine.bundle import writer
from training.engine.bundle.writer import IdHashes
from training.engine.config import EngineError, FitConfig, LeftOutCause, Sample
from training.engine.data import duplicates, images
from training.engine.data.groups import join_groups
from training.engine.evaluation.scoring import Floats, balanced_weights
from training.engine.search import budget, linear_head, linear_probe
from training.engine.search.state import Run, TrainingData
from training.engine.search.time_limit import RunClock, read_json, save_array, write_json

LASTING_FILES = ("clock.json", "fingerprint.json")  # of a checkpoint whose search starts again
RESTART_RATIO = 1.5  # times the limit of the run that left images out
REMEDY_LABELS = "Label at least five images with each of two labels."


def prepare_workdir(workdir: Path, train: list[Sample], config: FitConfig) -> None:
    """Write config.json, and delete a checkpoint of other samples or of another configuration.

    The folders of the samples do not count: another machine, which has its files elsewhere, continues.
    """
    checkpoint = workdir / "checkpoint"
    facts: list[tuple[object, ...]] = [
        (sample.id, sample.path.name, sample.labels, *([sample.group] if sample.group else []))
        for sample in train
    ]
    base = config.base_bundle.parts[-2:] if config.base_bundle else ()
    settings = (config.seed, config.hardware, config.is_multi_label, base)
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
    """The labels of the samples, sorted. Raises EngineError for fewer than two."""
    labels = tuple(sorted({label for sample in train for label in sample.labels}))
    if not train or not labels:
        raise EngineError("There are no labeled images to train with.", REMEDY_LABELS)
    if len(labels) < 2:
        raise EngineError(f"All images carry the same label, {labels[0]}.", REMEDY_LABELS)
    return labels


def choose_device(config: FitConfig) -> str:
    """ "cuda" or "cpu". Raises EngineError where a GPU is asked for and none is found."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise EngineError("There is no GPU on this machine.", "Choose a CPU flavor.")
    return "cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu"


def load_training_data(
    train: list[Sample], labels: tuple[str, ...], run: Run
) -> tuple[TrainingData, tuple[str, ...]]:
    """Decode the images, or map the cache of a killed run; gives the data and the ids of unreadable images.

    Raises EngineError where too few images can be read, FitStopped when the user or the clock ends the fit.
    """
    config, clock, checkpoint = run.config, run.clock, run.workdir / "checkpoint"
    cache = checkpoint / "pixels.npy"
    with clock.phase("pixels", f"Reading {len(train)} images"):
        stored = _decode_or_resume(train, labels, run, cache)
    chosen = [train[row] for row in stored["rows"]]
    bad_rows = {int(row) for row in stored["unreadable"]}
    samples = [sample for row, sample in enumerate(chosen) if row not in bad_rows]
    unreadable = tuple(chosen[row].id for row in sorted(bad_rows))
    if unreadable:
        several = "images cannot be read and are" if len(unreadable) > 1 else "image cannot be read and is"
        clock.emit("note", f"{len(unreadable):,} {several} left out.")
    targets = _targets(samples, labels)
    _refuse_unusable(targets, labels)
    # The cache holds the readable images first, so a slice of the map leaves the others out.
    pixels = images.open_cache(cache)[: len(samples)]
    with clock.phase("pixels", "Looking for duplicate images"):
        groups = _duplicate_groups(pixels, run, checkpoint / "groups.npy")
    groups = _with_named_groups(groups, samples, clock)
    left_out: dict[LeftOutCause, int] = {"unreadable": len(unreadable), "reading": len(train) - len(chosen)}
    hashes = writer.hash_ids(sample.id for sample in samples)
    inherited = writer.read_trained_on(config.base_bundle) if config.base_bundle else hashes[:0]
    data = TrainingData(
        labels=labels,
        id_hashes=hashes,
        trained_on=np.union1d(hashes, inherited),
        base_hashes=_base_hashes(hashes, inherited, groups, len(labels), clock),
        paths=[sample.path for sample in samples],
        pixels=pixels,
        targets=targets,
        weights=balanced_weights(targets),
        groups=groups,
        folds=linear_head.make_folds(targets, budget.fold_count(len(samples)), config.seed, groups),
        is_common=trial_folds(targets, config.seed, groups) == 0,
        left_out={cause: count for cause, count in left_out.items() if count},
    )
    return data, unreadable


def trial_folds(targets: Floats, seed: int, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] the parts of the rows that trials of a fine-tuning hold out, all of them the first part."""
    return linear_head.make_folds(targets, budget.trial_parts(len(targets)), seed, groups)


def _targets(samples: Sequence[Sample], labels: tuple[str, ...]) -> Floats:
    """[N, C] ones where a sample carries a label."""
    position = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(samples), len(labels)), np.float32)
    for row, sample in enumerate(samples):
        table[row, [position[label] for label in sample.labels]] = 1
    return table


def _refuse_unusable(targets: Floats, labels: tuple[str, ...]) -> None:
    if not len(targets):
        raise EngineError("None of the images can be read.", "Upload them again, for example as JPEG.")
    for label, count in zip(labels, targets.sum(axis=0), strict=True):
        if count < 2:
            raise EngineError(f"The label {label} has fewer than two readable images.", REMEDY_LABELS)


def _base_hashes(
    hashes: IdHashes, inherited: IdHashes, groups: NDArray[np.int64], labels: int, clock: RunClock
) -> IdHashes:
    """Hashes of the images of groups that the base has seen images of.

    None where too few others could score its networks.
    """
    seen = hashes[np.isin(groups, groups[np.isin(hashes, inherited)])]
    if len(hashes) - len(seen) < max(budget.MIN_UNSEEN, budget.MIN_UNSEEN_PER_LABEL * labels):
        if len(seen):
            clock.emit("note", "The base has trained on most of these images: the accuracy is optimistic.")
        return hashes[:0]
    return seen


def _with_named_groups(
    groups: NDArray[np.int64], samples: Sequence[Sample], clock: RunClock
) -> NDArray[np.int64]:
    """[N] group numbers, equal for duplicates and for samples of one named group."""
    named = len({sample.group for sample in samples} - {None})
    if not named:
        return groups
    joined = join_groups(groups, [sample.group for sample in samples])
    if len(np.unique(joined)) < 2:
        clock.emit("note", "All images are of one group: single images are held out, which is optimistic.")
        return groups
    clock.emit("note", f"Images of {named:,} groups: each group is held out as a whole.")
    return joined


class _DuplicateSearchTooLong(Exception):
    """The duplicate search takes more than its share of the limit."""


def _duplicate_groups(pixels: images.Pixels, run: Run, file: Path) -> NDArray[np.int64]:
    """[N] group numbers, equal for duplicates; read from `file` where a killed run has stored them."""
    if not file.exists():
        save_array(file, _find_groups(pixels, run))
    groups: NDArray[np.int64] = np.load(file)
    count = len(groups) - len(np.unique(groups))
    if count:
        run.clock.emit("note", f"Duplicates found: {count}. Duplicates are held out together.")
    return groups


def _find_groups(pixels: images.Pixels, run: Run) -> NDArray[np.int64]:
    """[N] group numbers; every image alone where the search takes too long."""
    clock = run.clock
    deadline = clock.elapsed() + budget.DUPLICATES_SHARE * clock.max_seconds

    def tick() -> None:
        clock.tick()
        if clock.elapsed() > deadline:
            raise _DuplicateSearchTooLong

    try:
        found = duplicates.duplicate_groups(pixels, run.threads, tick)
    except _DuplicateSearchTooLong:
        clock.is_short = True
        clock.emit("note", "The time limit is too short to look for duplicate images.")
        return np.arange(len(pixels))
    usable = budget.usable_groups(found)
    if divided := int((usable != found).sum()):
        clock.emit(
            "note",
            f"{divided:,} images are duplicates of a few pictures, too many to be held out as a whole: the "
            "accuracy is optimistic.",
        )
    return usable


def _decode_or_resume(train: list[Sample], labels: tuple[str, ...], run: Run, cache: Path) -> dict[str, Any]:
    """The notes that `_decode` makes, now or in a killed run.

    Where a run left images out and the limit is much longer now, the search starts again; time used counts.
    """
    notes = cache.with_suffix(".json")
    stored: dict[str, Any] = read_json(notes) or {}
    is_longer = bool(stored) and run.config.max_seconds > RESTART_RATIO * stored.get("max_seconds", 0)
    if is_longer and _left_images_out(stored, len(train), cache.with_name(linear_probe.HEAD_ROWS_FILE)):
        run.clock.notes.clear()  # what they say of the first search is no longer true
        run.clock.emit("note", "There is time for images that were left out: the search starts again.")
        _discard_checkpoint(notes, cache.parent)
        stored = {}
    if stored and not cache.exists() and not _decode_again(train, run, cache, stored):
        run.clock.emit("note", "Other images can be read than before: the search starts again.")
        _discard_checkpoint(notes, cache.parent)
        stored = {}
    if not stored:
        stored = _decode(train, labels, run, cache)
        write_json(notes, stored)
    return stored


def _decode_again(train: list[Sample], run: Run, cache: Path, stored: dict[str, Any]) -> bool:
    """Fill the cache as the notes say, where a checkpoint came without it. False if other images are read."""
    if "side" not in stored:  # notes of an earlier release
        return False
    again = cache.with_suffix(".again.npy")  # renamed once it is whole: the notes are there already
    problems = _fill_cache([train[row].path for row in stored["rows"]], stored["side"], run, again)
    os.replace(again, cache)
    return problems.keys() == {int(row) for row in stored["unreadable"]}


def _left_images_out(stored: dict[str, Any], count: int, head_rows: Path) -> bool:
    """Whether the cache, or the heads for lack of time, left images out."""
    readable = len(stored["rows"]) - len(stored["unreadable"])
    fitted = len(np.load(head_rows)) if head_rows.exists() else readable
    return len(stored["rows"]) < count or fitted < min(readable, budget.MAX_HEAD_ROWS)


def _discard_checkpoint(notes: Path, checkpoint: Path) -> None:
    """Delete all but LASTING_FILES, `notes` last: a run that is killed here deletes the rest next time."""
    for path in checkpoint.iterdir():
        if path != notes and path.name not in LASTING_FILES:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    notes.unlink()


def _decode(train: list[Sample], labels: tuple[str, ...], run: Run, cache: Path) -> dict[str, Any]:
    """Fill the cache; gives {"rows": chosen samples, "unreadable": {row: why}, "side": pixels of a square,
    "max_seconds": the limit}."""
    chosen, side = _choose_rows_and_side(train, labels, run)
    problems = _fill_cache([train[row].path for row in chosen], side, run, cache)
    unreadable = {str(row): cause for row, cause in sorted(problems.items())}
    return {"rows": chosen, "unreadable": unreadable, "side": side, "max_seconds": run.config.max_seconds}


def _fill_cache(paths: list[Path], side: int, run: Run, cache: Path) -> dict[int, str]:
    """Decode the images into the cache, the readable ones first; gives {row: why it is unreadable}."""

    def tick(done: int) -> None:
        run.clock.tick(done / len(paths))

    problems = images.decode_all(paths, side, cache, run.threads, tick)
    if problems:
        images.compact_rows(cache, problems.keys())
    return problems


def _choose_rows_and_side(train: list[Sample], labels: tuple[str, ...], run: Run) -> tuple[list[int], int]:
    """The samples that can be decoded in time (all, unless the limit is short), and the side of the cache.

    The speed of decoding is measured on a few images first.
    """
    random = np.random.default_rng(run.config.seed)
    probe = random.permutation(len(train))[:16]
    largest = max(size for network in registry.available_networks() for size in network.resolutions)
    long_sides, began = [], time.monotonic()
    for row in probe:
        try:
            long_sides.append(max(images.open_image(train[row].path).size))
            images.read_square(train[row].path, largest)
        except (OSError, EngineError, ValueError):
            continue
    image_s = (time.monotonic() - began) / len(probe) / run.threads
    count = budget.rows_that_fit(len(train), image_s, run.clock.left())
    if count == len(train):
        return list(range(count)), budget.cache_side(long_sides, largest)
    run.clock.is_short = True
    order = linear_probe.stratified_order(_targets(train, labels), run.config.seed)
    rows = np.sort(order[:count]).tolist()
    run.clock.emit("note", f"Only {len(rows):,} of {len(train):,} images can be read in the time limit.")
    return rows, budget.cache_side(long_sides, largest)

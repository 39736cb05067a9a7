"""Loaded models of the web process and the batch worker, bounded by number and bytes."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from cachetools import LRUCache, cached
from django.core.files.storage import default_storage
from django.utils.translation import gettext_noop

from exeml_site.lib.storage import StorageAway, is_away, local_path
from training.models import TrainingVersion

if TYPE_CHECKING:
    from training.engine.bundle.bundle import Bundle
    from training.engine.bundle.decision import DecisionRule
    from training.engine.config import NumberFormat


logger = logging.getLogger(__name__)

THREADS = 2  # of OpenVINO, for each model while it has one image alone: the process also serves pages
MAX_AT_ONCE = max(2, os.cpu_count() or 2)  # predictions of this process, then with one thread each
MAX_MODELS = 8
MAX_BYTES = 512 * 1024 * 1024
TRAINING_ONLY_FILES = frozenset({"weights.pt"})  # large, and only for training further


STORAGE_AWAY = gettext_noop("The model cannot be loaded now. The file storage does not answer.")
FILES_MISSING = gettext_noop("The model cannot be loaded. Its files are missing.")


class ModelUnavailable(Exception):
    """The model cannot be loaded or does not answer; the English text says why."""


class ModelAway(ModelUnavailable, StorageAway):
    """The storage that holds the model does not answer now."""


def load_model(version: TrainingVersion, number_format: str = "", streams: int = 1) -> Bundle:
    """The version's model, from memory where it was used lately. Raises ModelUnavailable.

    `number_format`: one of the engine's; empty for the version's default. `streams`: answers at once, for a
    process that answers many images; the first load of a model decides.
    """
    return _load_bundle(version, str(number_format or version.number_format), streams)[0]


def decision_rule(version: TrainingVersion) -> DecisionRule:
    """The version's own rule, read without loading its model. Raises ModelUnavailable."""
    from training.engine.bundle.bundle import rule_of

    return rule_of(_read_description(version))


def rule_of_evaluation(version: TrainingVersion, labels: tuple[str, ...]) -> DecisionRule | None:
    """The rule by which stored scores of these labels are decided.

    None where images carry several labels and the version's model, which has their thresholds, is missing.
    """
    from training.engine.bundle.decision import DecisionRule

    with contextlib.suppress(ModelUnavailable):
        rule = decision_rule(version)
        if rule.labels == labels:
            return rule
    is_multi = version.project.is_multi_label
    return None if is_multi else DecisionRule(labels, False, tuple(0.0 for _ in labels))


def detects_unknown(version: TrainingVersion) -> bool:
    """Whether the version can tell unknown images. Raises ModelUnavailable."""
    return _read_description(version).get("unknown") is not None


def _read_description(version: TrainingVersion) -> dict[str, Any]:
    from training.engine.bundle.bundle import read_description

    with _loading(version):
        return read_description(local_path(f"{version.folder}/bundle/bundle.json").parent)


def bundle_folder(version: TrainingVersion) -> Path:
    """The version's stored bundle as a folder of this machine. Raises ModelUnavailable."""
    with _loading(version):
        return _local_folder(f"{version.folder}/bundle")[0]


@contextlib.contextmanager
def _loading(version: TrainingVersion) -> Iterator[None]:
    """Raises ModelUnavailable where files cannot be read, are damaged, or cannot be downloaded now."""
    from training.engine.config import EngineError

    try:
        yield
    except (EngineError, OSError) as problem:
        logger.warning("The model of version %s cannot be loaded: %s", version.pk, problem)
        raise ModelUnavailable(_cause(problem)) from problem
    except Exception as problem:
        if not is_away(problem):
            raise
        logger.warning("The model of version %s cannot be loaded now: %s", version.pk, problem)
        raise ModelAway(STORAGE_AWAY) from problem


def _share(model: tuple[Bundle, int]) -> int:
    """What a model takes of MAX_BYTES: a small one its share among MAX_MODELS, a huge one everything."""
    return min(max(model[1], MAX_BYTES // MAX_MODELS), MAX_BYTES)


def _key(version: TrainingVersion, number_format: str, _streams: int) -> tuple[UUID, str]:
    """A version's job id, which unlike a primary key is never given twice, and the number format."""
    return version.job_id, number_format


# The model of a version in a number format, and the bytes of its files.
_cache: LRUCache[tuple[UUID, str], tuple[Bundle, int]] = LRUCache(MAX_BYTES, _share)


@cached(_cache, key=_key, condition=threading.Condition())
def _load_bundle(version: TrainingVersion, number_format: str, streams: int) -> tuple[Bundle, int]:
    """One thread loads a model while those that ask for the same one wait."""
    from training.engine.bundle.bundle import Bundle

    with _loading(version):
        folder, size_bytes = _local_folder(f"{version.folder}/bundle")
        # A process that answers many images all the time needs no second network for a lone one.
        model = Bundle.load(
            folder,
            max(THREADS, streams),
            streams=streams,
            most_at_once=MAX_AT_ONCE if streams == 1 else 1,
            number_format=cast("NumberFormat", number_format),
        )
        return model, size_bytes


def _cause(problem: Exception) -> str:
    """Why a model was not loaded. It is told to programs and stored, so it is English."""
    if isinstance(problem, FileNotFoundError):
        return FILES_MISSING
    if isinstance(problem, OSError):
        reason = problem.strerror or problem
        return f"The model cannot be loaded. Its files cannot be read ({reason})."  # not translated: stored
    return f"The model cannot be loaded. {problem}"  # not translated: stored


def _local_folder(name: str) -> tuple[Path, int]:
    """The folder of the stored bundle on this machine, and the size of its files in bytes."""
    _, names = default_storage.listdir(name)
    paths = [local_path(f"{name}/{file}") for file in names if file not in TRAINING_ONLY_FILES]
    if not paths:
        raise FileNotFoundError(name)
    return paths[0].parent, sum(path.stat().st_size for path in paths)

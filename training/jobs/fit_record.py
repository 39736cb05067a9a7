"""The result of a fit, in its work folder until the model is stored: the next attempt need not train."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.engine import CandidateReport, FitResult
from training.engine.config import CommonScore, CrossValidation, ImagesUsed

FILE = "fit.json"


def write(folder: Path, result: FitResult) -> None:
    """Keep the result of the fit of this work folder."""
    from training.engine.search.time_limit import write_json

    stored = asdict(result) | {
        "bundle": result.bundle.name,
        "candidates_file": result.candidates_file.name if result.candidates_file else None,
    }
    write_json(folder / FILE, stored)


def read(folder: Path) -> FitResult | None:
    """The result of the fit that ended in this work folder; None where none did, or its model is gone."""
    from training.engine.search.time_limit import read_json

    stored = read_json(folder / FILE)
    if stored is None or not (folder / stored["bundle"]).is_dir():
        return None
    crossed = stored["cross_validation"]
    return FitResult(
        **stored
        | {
            "bundle": folder / stored["bundle"],
            "labels": tuple(stored["labels"]),
            "best": _candidate(stored["best"]),
            "candidates": tuple(map(_candidate, stored["candidates"])),
            "curve": tuple((seconds, accuracy) for seconds, accuracy in stored["curve"]),
            "unreadable": tuple(stored["unreadable"]),
            "candidates_file": folder / name if (name := stored["candidates_file"]) else None,
            "notes": tuple(stored["notes"]),
            "cross_validation": _cross_validation(crossed) if crossed else None,
        }
    )


def _candidate(stored: dict[str, Any]) -> CandidateReport:
    images, common = stored["images"], stored["common"]
    parts = {"images": ImagesUsed(**images) if images else None}
    return CandidateReport(**stored | parts | {"common": CommonScore(**common) if common else None})


def _cross_validation(stored: dict[str, Any]) -> CrossValidation:
    folds = tuple(tuple((right, images) for right, images in repeat) for repeat in stored["folds"])
    return CrossValidation(**stored | {"folds": folds})

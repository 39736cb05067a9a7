"""The candidates of a search with their weights, so that another one can be chosen later without training.

candidates.pt beside the bundle holds `states` and `references`, each once, and under `kept` for each place in
the search what its bundle needs. Pretrained weights of a backbone are not stored: they come from its package.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.engine.backbones import classifier
from training.engine.backbones.classifier import Head, Member, StateDict
from training.engine.backbones.registry import get_network
from training.engine.bundle import writer
from training.engine.bundle.bundle import Bundle
from training.engine.bundle.novelty import NoveltyReference
from training.engine.bundle.writer import BundleInfo
from training.engine.config import CandidateReport, CommonScore, EngineError, ImagesUsed
from training.engine.search.checkpoint import bundle_info
from training.engine.search.novelty_reference import make_reference, needs_extraction
from training.engine.search.state import SearchState

CANDIDATES_FILE = "candidates.pt"
FORMAT_VERSION = 1


class _Deduplicated:
    """Objects that several candidates share, each stored once; candidates refer to them by index."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._indices: dict[Any, int] = {}

    def index_of(self, key: Any, value: Any) -> int:
        """The index of the value; it is added where its key is new."""
        if key not in self._indices:
            self._indices[key] = len(self.values)
            self.values.append(value)
        return self._indices[key]


def store_candidates(search: SearchState, reports: Sequence[CandidateReport]) -> frozenset[int]:
    """Write all candidates that have a model, beside the bundle; gives their places in the search.

    `reports`: those of the whole search. Candidates whose novelty reference must be extracted are stored
    without one where the time is over.
    """
    states, references = _Deduplicated(), _Deduplicated()
    pretrained: dict[str, StateDict] = {}
    kept = {}
    for place, ((_, candidate), report) in enumerate(zip(search.candidates, reports, strict=True)):
        if candidate is None:
            continue
        info = bundle_info(search, candidate)
        is_affordable = not needs_extraction(search, candidate) or search.run.clock.left() > 0
        reference = make_reference(search, candidate, info) if is_affordable else None
        kept[place] = {
            "identity": asdict(info),
            "members": [_member_record(member, states, pretrained) for member in candidate.members],
            "known": _novelty_record(reference, references) if reference else None,
            "report": asdict(report),
        }
    _write_record(search, {"states": states.values, "references": references.values, "kept": kept})
    return frozenset(kept)


def _member_record(member: Member, states: _Deduplicated, pretrained: dict[str, StateDict]) -> dict[str, Any]:
    name = member.network.name
    if name not in pretrained:
        pretrained[name] = classifier.pretrained_state(member.network)
    is_tuned = any(not torch.equal(tensor, pretrained[name][key]) for key, tensor in member.state.items())
    return {
        "network": name,
        "resolution": member.resolution,
        "is_deep": member.is_deep,
        "directions": member.directions,
        "state": states.index_of(id(member.state), member.state) if is_tuned else None,
        "weight": member.head.weight.clone(),  # a view of a joint head would store all of it
        "bias": member.head.bias.clone(),
    }


def _novelty_record(reference: NoveltyReference, references: _Deduplicated) -> dict[str, Any]:
    stored = torch.from_numpy(reference.references.astype(np.float16))
    return {
        "references": references.index_of(reference.references.tobytes(), stored),
        "confidences": torch.from_numpy(reference.confidences),
        "distances": torch.from_numpy(reference.distances),
        "min_confidence": reference.min_confidence,
        "max_distance": reference.max_distance,
        "member": reference.member,
        "first": reference.first_feature,
    }


def _write_record(search: SearchState, record: dict[str, Any]) -> None:
    path = search.run.workdir / CANDIDATES_FILE
    unfinished = path.with_suffix(".part")
    trained_on = torch.from_numpy(search.data.trained_on)
    torch.save({"format_version": FORMAT_VERSION, "trained_on": trained_on, **record}, unfinished)
    os.replace(unfinished, path)


def restore_candidate(
    path: Path, place: int, target: Path, examples: Sequence[Path], threads: int
) -> tuple[Bundle, CandidateReport]:
    """Export the candidate at a place of a search as a bundle in `target`, with its report.

    Raises EngineError where the candidate was not stored or cannot be read.
    """
    record = _load_record(path)
    if place not in record["kept"]:
        raise EngineError("This candidate's weights were not kept.", "Train again.")
    chosen = record["kept"][place]
    members = [_load_member(stored, record["states"]) for stored in chosen["members"]]
    info = BundleInfo(**chosen["identity"])
    reference = _load_novelty(chosen["known"], record["references"]) if chosen["known"] else None
    trained_on = record["trained_on"].numpy()
    bundle = writer.export_bundle(members, info, target, examples, threads, reference, trained_on)
    return bundle, replace(_read_report(chosen["report"]), is_best=True)


def _read_report(stored: dict[str, Any]) -> CandidateReport:
    """The report as it was stored; those of earlier releases have neither `images` nor `common`."""
    images, common = stored.get("images"), stored.get("common")
    return CandidateReport(
        **stored
        | {
            "images": ImagesUsed(**images) if images else None,
            "common": CommonScore(**common) if common else None,
        }
    )


def _load_record(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises many kinds for a broken file, and all mean the same here
        raise EngineError(
            "The kept candidates of this version cannot be read.", "Train again to choose another one."
        ) from problem
    if record.get("format_version") != FORMAT_VERSION:
        raise EngineError("The candidates were kept by another release.", "Train again.")
    return record


def _load_member(stored: dict[str, Any], states: Sequence[StateDict]) -> Member:
    network, index = get_network(stored["network"]), stored["state"]
    state = classifier.pretrained_state(network) if index is None else states[index]
    head = Head(stored["weight"], stored["bias"])
    directions = stored.get("directions")  # earlier releases had none
    return Member(network, stored["resolution"], state, head, stored["is_deep"], directions=directions)


def _load_novelty(stored: dict[str, Any], references: Sequence[Tensor]) -> NoveltyReference:
    return NoveltyReference(
        references=references[stored["references"]].numpy().astype(np.float32),
        confidences=stored["confidences"].numpy(),
        distances=stored["distances"].numpy(),
        min_confidence=stored["min_confidence"],
        max_distance=stored["max_distance"],
        member=stored["member"],
        first_feature=stored["first"],
    )

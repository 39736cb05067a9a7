"""Every candidate of a search with its weights, so that another can be chosen later without training.

candidates.pt beside the bundle: `states` and `references` each once, and for each place in the search what
its bundle needs. A backbone with the pretrained weights is not stored: they come from its package.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
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
from training.engine.config import CandidateReport, EngineError
from training.engine.search.checkpoint import bundle_info
from training.engine.search.novelty_reference import make_reference, needs_extraction
from training.engine.search.state import Search

CANDIDATES_FILE = "candidates.pt"
FORMAT_VERSION = 1


class _Deduplicated:
    """Things that several candidates share, each stored once; their numbers stand for them."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, mark: Any, value: Any) -> int:
        if mark not in self._numbers:
            self._numbers[mark] = len(self.values)
            self.values.append(value)
        return self._numbers[mark]


def store_candidates(search: Search) -> frozenset[int]:
    """Write all candidates that have a model beside the bundle; their places in the search.

    A fine-tuned network that stands alone has to look at pictures again before it can tell what is unknown to
    it: that is left out where the time is over.
    """
    states, references = _Deduplicated(), _Deduplicated()
    pretrained: dict[str, StateDict] = {}
    kept = {}
    for place, (report, contender) in enumerate(search.tried):
        if contender is None:
            continue
        identity = bundle_info(search, contender)
        is_affordable = not needs_extraction(search, contender) or search.clock.left() > 0
        known = make_reference(search, contender, identity) if is_affordable else None
        kept[place] = {
            "identity": asdict(identity),
            "members": [_member_record(one, states, pretrained) for one in contender.members],
            "known": _novelty_record(known, references) if known else None,
            "report": asdict(report),
        }
    _write_record(search, {"states": states.values, "references": references.values, "kept": kept})
    return frozenset(kept)


def _member_record(member: Member, states: _Deduplicated, pretrained: dict[str, StateDict]) -> dict[str, Any]:
    name = member.network.name
    if name not in pretrained:
        pretrained[name] = classifier.pretrained_state(member.network)
    is_tuned = any(not torch.equal(one, pretrained[name][key]) for key, one in member.state.items())
    return {
        "network": name,
        "resolution": member.resolution,
        "is_deep": member.is_deep,
        "state": states.number(id(member.state), member.state) if is_tuned else None,
        "weight": member.head.weight.clone(),  # a part of a joint head would bring all of it along
        "bias": member.head.bias.clone(),
    }


def _novelty_record(known: NoveltyReference, references: _Deduplicated) -> dict[str, Any]:
    stored = torch.from_numpy(known.references.astype(np.float16))
    return {
        "references": references.number(known.references.tobytes(), stored),
        "confidences": torch.from_numpy(known.confidences),
        "distances": torch.from_numpy(known.distances),
        "min_confidence": known.min_confidence,
        "max_distance": known.max_distance,
        "member": known.member,
        "first": known.first,
    }


def _write_record(search: Search, record: dict[str, Any]) -> None:
    path = search.workdir / CANDIDATES_FILE
    unfinished = path.with_suffix(".part")
    marks = torch.from_numpy(search.trained_on)
    torch.save({"format_version": FORMAT_VERSION, "trained_on": marks, **record}, unfinished)
    os.replace(unfinished, path)


def restore_candidate(
    path: Path, place: int, target: Path, examples: Sequence[Path], threads: int
) -> tuple[Bundle, CandidateReport]:
    """Export the candidate at that place of a search as a bundle of its own, checked as every bundle is.

    Raises EngineError where it was not kept or cannot be read.
    """
    record = _load_record(path)
    if place not in record["kept"]:
        raise EngineError("This candidate's weights were not kept.", "Train again.")
    chosen = record["kept"][place]
    members = [_load_member(one, record["states"]) for one in chosen["members"]]
    identity = BundleInfo(**chosen["identity"])
    known = _load_novelty(chosen["known"], record["references"]) if chosen["known"] else None
    trained_on = record["trained_on"].numpy()
    bundle = writer.export_bundle(members, identity, target, examples, threads, known, trained_on)
    return bundle, CandidateReport(**{**chosen["report"], "is_best": True})


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
    kind, number = get_network(stored["network"]), stored["state"]
    state = classifier.pretrained_state(kind) if number is None else states[number]
    head = Head(stored["weight"], stored["bias"])
    return Member(kind, stored["resolution"], state, head, stored["is_deep"])


def _load_novelty(stored: dict[str, Any], references: Sequence[Tensor]) -> NoveltyReference:
    return NoveltyReference(
        references=references[stored["references"]].numpy().astype(np.float32),
        confidences=stored["confidences"].numpy(),
        distances=stored["distances"].numpy(),
        min_confidence=stored["min_confidence"],
        max_distance=stored["max_distance"],
        member=stored["member"],
        first=stored["first"],
    )

"""Write a bundle from members: beside the old one, checked, then swapped in."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine.backbones.classifier import Ensemble, Head, Member, resolutions_of, to_onnx
from training.engine.backbones.registry import get_network
from training.engine.bundle.bundle import (
    FORMAT_VERSION,
    Bundle,
    calibrate,
    read_description,
    self_test_squares,
)
from training.engine.bundle.novelty import NoveltyReference
from training.engine.config import EngineError
from training.engine.data.images import Pixels, resize_square

T = TypeVar("T")
IdHashes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """The description of a bundle, apart from its networks. Stored with candidates by these names.

    `images_used`: the fields of ImagesUsed, unknown for candidates of earlier releases.
    """

    labels: tuple[str, ...]
    is_multi_label: bool
    side: int
    recipe: str
    temperature: float
    thresholds: tuple[float, ...]
    accuracy: float | None
    images_used: dict[str, Any] | None = None


def export_bundle(
    members: Sequence[Member],
    info: BundleInfo,
    target: Path,
    examples: Sequence[Path],
    threads: int,
    reference: NoveltyReference | None = None,
    trained_on: IdHashes | None = None,
) -> Bundle:
    """Write the bundle, compare it with torch, measure its latency on `examples`, and swap it in.

    Without `reference` it cannot detect unknown images. `trained_on`: hashes of all images that its networks
    have seen, for later training. Raises EngineError where the exported network differs from the trained one.
    """
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    module = Ensemble(members).eval()
    (fresh / "model.onnx").write_bytes(to_onnx(module, module.sizes, ["logits", "features"]))
    torch.save(_weights_record(members, trained_on), fresh / "weights.pt")
    description = _description_of(members, info)
    if reference is not None:
        reference.write(fresh)
        description["unknown"] = reference.describe()
    _write_description(fresh, description)
    bundle = Bundle.load(fresh, threads)
    squares = self_test_squares(info.side)
    description["parity"] = _parity(module, bundle, squares)
    description["self_test"] = {"scores": [bundle.predict_square(square).tolist() for square in squares]}
    description["inference_ms"] = asdict(bundle.measure_time(examples)) if examples else None
    _write_description(fresh, description)
    _swap_in(fresh, target)
    return Bundle(target, bundle.labels, bundle.is_multi_label, description, bundle._network, reference)


def read_members(path: Path) -> list[Member]:
    """The networks of a bundle, to continue the training. Raises EngineError when they cannot be read."""
    return _read_weights(
        path,
        lambda record: [
            Member(
                get_network(member["network"]),
                member["resolution"],
                member["state"],
                Head(member["weight"], member["bias"]),
                member.get("is_deep", False),  # the first bundles had no deep heads
                directions=member.get("directions"),  # and those of format 1 no covariance
            )
            for member in record["members"]
        ],
    )


def read_trained_on(path: Path) -> IdHashes:
    """Hashes of the images that a bundle's networks have seen; none for the first bundles.

    Raises EngineError when they cannot be read.
    """
    return _read_weights(path, lambda record: np.asarray(record.get("trained_on", ()), np.int64))


def rename_trained_on(weights: Path, new_ids: Mapping[str, str]) -> None:
    """Give the images that the networks of a weights file have seen their new ids; others are forgotten.

    Raises EngineError when the file cannot be read.
    """
    try:
        record = torch.load(weights, map_location="cpu", weights_only=True)
        seen = np.asarray(record.get("trained_on", ()), np.int64)
    except Exception as problem:  # torch raises many kinds for a broken file, and all mean the same here
        raise EngineError("The weights of the model cannot be read.", "Use another file.") from problem
    is_seen = np.isin(hash_ids(new_ids), seen)
    record["trained_on"] = torch.from_numpy(np.sort(hash_ids(new_ids.values())[is_seen]))
    torch.save(record, weights)


def _read_weights(path: Path, select: Callable[[dict[str, Any]], T]) -> T:
    read_description(path)
    try:
        return select(torch.load(path / "weights.pt", map_location="cpu", weights_only=True))
    except EngineError:
        raise
    except Exception as problem:  # torch raises many kinds for a broken file, and all mean the same here
        raise EngineError(
            "The weights of the model to start from cannot be read.", "Choose another version."
        ) from problem


def hash_ids(ids: Iterable[str]) -> IdHashes:
    """[N] a 64-bit hash of each image id."""
    return np.array(
        [int.from_bytes(blake2b(image_id.encode(), digest_size=8).digest(), signed=True) for image_id in ids],
        np.int64,
    )


def restore_swapped(target: Path) -> None:
    """Put the older bundle back if a killed run left the swap half done."""
    old = target.with_name(target.name + ".old")
    if old.exists() and not target.exists():
        os.replace(old, target)


def _swap_in(fresh: Path, target: Path) -> None:
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(fresh, target)
    shutil.rmtree(old, ignore_errors=True)


def _weights_record(members: Sequence[Member], trained_on: IdHashes | None) -> dict[str, Any]:
    return {
        "trained_on": torch.from_numpy(trained_on if trained_on is not None else np.zeros(0, np.int64)),
        "members": [
            {
                "network": member.network.name,
                "resolution": member.resolution,
                "is_deep": member.is_deep,
                "directions": member.directions,
                "state": member.state,
                "weight": member.head.weight,
                "bias": member.head.bias,
            }
            for member in members
        ],
    }


def _description_of(members: Sequence[Member], info: BundleInfo) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION if any(_reads_covariance(one) for one in members) else 1,
        "labels": list(info.labels),
        "is_multi_label": info.is_multi_label,
        "network": " + ".join(member.network.name for member in members),
        "resolution": max(resolutions_of(members)),
        "members": [
            {"network": one.network.name, "resolution": one.resolution, "licence": one.network.licence}
            for one in members
        ],
        "recipe": info.recipe,
        "accuracy": info.accuracy,
        "images_used": info.images_used,
        "preprocessing": {
            "side": info.side,
            "resolutions": resolutions_of(members),
            "steps": "upright RGB, transparency on white; the middle, stretched by at most 4/3; bicubic to "
            "side, then to each resolution; uint8, rows, columns, channels; scaling is inside the network",
        },
        "temperature": info.temperature,
        "thresholds": list(info.thresholds),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "inference_ms": None,
        "parity": None,
        "self_test": None,
        "bytes": 0,
    }


def _reads_covariance(member: Member) -> bool:
    """Whether a reader of format 1 would mistake the columns of the member's head."""
    return member.is_deep and member.directions is not None


def _write_description(folder: Path, description: dict[str, Any]) -> None:
    description["bytes"] = (folder / "model.onnx").stat().st_size
    (folder / "bundle.json").write_text(json.dumps(description, indent=1, ensure_ascii=False), "utf-8")


def _parity(module: Ensemble, bundle: Bundle, squares: Pixels) -> dict[str, Any]:
    """The largest difference of scores between torch and the exported network. Raises EngineError beyond
    0.01."""
    inputs = [np.stack([resize_square(square, size) for square in squares]) for size in module.sizes]
    with torch.inference_mode():
        logits = module(*[torch.from_numpy(batch) for batch in inputs])[0].numpy()
    temperature = float(bundle.description["temperature"])
    expected = calibrate(logits, temperature, bundle.is_multi_label)
    exported = np.stack([bundle.predict_square(square) for square in squares])
    largest = float(np.abs(expected - exported).max())
    if not largest < 0.01:
        raise EngineError(
            "The exported model does not answer like the trained one.", "Report this as a fault."
        )
    same = bool((expected.argmax(axis=1) == exported.argmax(axis=1)).all())
    return {"images": len(squares), "largest_difference": largest, "same_top1": same}

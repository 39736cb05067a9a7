"""The accuracy of each fine-tuning recipe, by cross-validation over all images of a data set.

    python -m benchmarks.recipes DATA ... [--folds 5] [--epochs N] [--most 2000] [--network 0] [--heads]

Every fold is left out once, groups as a whole. In one run, on the same folds and pixels: the linear head on
frozen features at the size that is fine-tuned; the last blocks and the whole network, both from that head and
for as many epochs (the engine's choice, unless given); the head on deep features at the network's own size,
without and with their covariance; and each of the fine-tuned networks mixed half and half with the deep head,
as the engine mixes. With `--heads` nothing is fine-tuned, and the strength of each deep head is chosen by
cross-validation within the other folds. Mean accuracy over the folds, its standard error, wrong images,
seconds of one training, and those as a share of the slowest recipe's; in the end the wrong images of all data
sets. `--most` images are picked at random.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.engine.backbones import classifier, features, registry
from training.engine.backbones.classifier import Head, Member
from training.engine.backbones.covariance import principal_directions
from training.engine.data import layouts
from training.engine.data.augment import Strength
from training.engine.data.images import decode_all, open_cache, open_image
from training.engine.search import budget as time_budget
from training.engine.search import finetune, linear_head

ROW = "| {:<32} | {:>8} | {:>6} | {:>5} | {:>7} | {:>5} |"
DEEP_STRENGTH, PLAIN_STRENGTH = 1e-6, 1e-5


def read_pixels(paths: list[Path], largest: int, folder: Path) -> np.ndarray:
    """[N, S, S, 3] pixels of the images, as the engine keeps them."""
    side = time_budget.cache_side([max(open_image(path).size) for path in paths], largest)
    problems = decode_all(paths, side, folder / "pixels.npy", 2, lambda done: None)
    if problems:
        raise SystemExit(f"{len(problems)} images cannot be read.")
    return open_cache(folder / "pixels.npy")


class Recipes:
    """The images of a data set, and the measured hits and seconds of each recipe."""

    def __init__(self, source: Path, most: int, network: int, epochs: int | None, folder: Path) -> None:
        samples = [*layouts.samples_for_fit(source, None, 0), *layouts.samples_for_evaluation(source)]
        samples = list({sample.path: sample for sample in samples}.values())
        picked = np.sort(np.random.default_rng(0).permutation(len(samples))[:most])
        samples = [samples[i] for i in picked]
        names = sorted({sample.labels[0] for sample in samples})
        self.truth = np.array([names.index(sample.labels[0]) for sample in samples])
        self.targets = np.eye(len(names), dtype=np.float32)[self.truth]
        kind = registry.NETWORKS[network]
        self.pixels = read_pixels([sample.path for sample in samples], kind.resolution, folder)
        size = time_budget.finetune_resolutions(kind.resolution, self.pixels.shape[1])[-1]
        empty = Head(torch.zeros(1, 1), torch.zeros(1))
        self.tuned = Member(kind, size, classifier.pretrained_state(kind), empty)
        deep = replace(self.tuned, resolution=kind.resolution, is_deep=True)
        maps = features.extract_maps(
            deep, self.pixels, torch.get_num_threads(), "cpu", lambda share: None, self._spread_rows()
        )
        second = replace(deep, directions=principal_directions(maps, time_budget.DIRECTIONS[0]))
        both = self._blocks(second, self._features(second))
        self.plain, self.second, self.deep = self._features(self.tuned), both, both[:, second.taps[0] :]
        self.groups = np.unique(
            [sample.group or str(sample.path) for sample in samples], return_inverse=True
        )[1]
        self.epochs = epochs or time_budget.full_epochs(len(samples))
        self.hits: dict[str, list[float]] = defaultdict(list)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def _spread_rows(self) -> list[int]:
        return list(range(0, len(self.pixels), max(1, len(self.pixels) // time_budget.DIRECTION_ROWS)))

    def _features(self, member: Member) -> Tensor:
        return features.extract_features(
            member, self.pixels, torch.get_num_threads(), "cpu", lambda share: None
        )

    def _blocks(self, member: Member, table: Tensor) -> Tensor:
        parts = torch.split(table, list(member.taps), dim=1)
        return torch.cat([part / part.std() for part in parts], dim=1)

    def _head(self, table: Tensor, rows: np.ndarray, strength: float) -> Head:
        weights = np.ones(len(rows))
        return linear_head.fit_head(
            table[rows], self.targets[rows], strength, False, weights, lambda *share: None
        )

    def measure_heads(self, seen: np.ndarray, unseen: np.ndarray) -> None:
        """The deep heads with one fold left out, each at the strength that the others choose."""
        inner = linear_head.make_folds(self.targets[seen], 3, 1, self.groups[seen])
        for name, table in (("deep head", self.deep), ("second-order head", self.second)):
            began = time.monotonic()
            fit = linear_head.cross_validate(
                table[None, seen], self.targets[seen], inner, False, np.ones(len(seen)), lambda: None
            )
            self._note(name, _logits(table[unseen], fit.head), unseen, time.monotonic() - began)

    def measure(self, seen: np.ndarray, unseen: np.ndarray) -> None:
        """All recipes with one fold left out."""
        began = time.monotonic()
        deep = self._head(self.deep, seen, DEEP_STRENGTH)
        deep_logits = _logits(self.deep[unseen], deep)
        self._note("deep head", deep_logits, unseen, time.monotonic() - began)
        began = time.monotonic()
        second = self._head(self.second, seen, DEEP_STRENGTH)
        self._note(
            "second-order head", _logits(self.second[unseen], second), unseen, time.monotonic() - began
        )
        began = time.monotonic()
        start = self._head(self.plain, seen, PLAIN_STRENGTH)
        self._note("linear head", _logits(self.plain[unseen], start), unseen, time.monotonic() - began)
        budget = time_budget.FinetuneBudget(1, 5, self.epochs, False, True)
        batch = time_budget.partial_batch(len(self.pixels))
        plans = {
            "last blocks": finetune.last_blocks_plan(
                self.epochs, budget.views, Strength(), batch, self.tuned.network.frozen_stages
            ),
            "whole network": finetune.FinetunePlan(self.epochs),
        }
        for name, plan in plans.items():
            began = time.monotonic()
            job = finetune.FinetuneJob(
                member=replace(self.tuned, head=start),
                plan=plan,
                pixels=self.pixels,
                targets=self.targets,
                row_weights=np.ones(len(self.pixels)),
                rows=seen,
                is_multi_label=False,
                seed=0,
                device="cpu",
            )
            member = finetune.fine_tune(job, lambda share: None)
            seconds = time.monotonic() - began
            table = features.extract_features(
                member, self.pixels, torch.get_num_threads(), "cpu", lambda share: None, unseen.tolist()
            )
            logits = _logits(table, member.head)
            self._note(name, logits, unseen, seconds)
            mixed = logits / logits.std() + deep_logits / deep_logits.std()
            self._note(f"{name} + deep head", mixed, unseen, seconds)

    def _note(self, name: str, logits: Tensor, rows: np.ndarray, seconds: float) -> None:
        self.hits[name] += (logits.argmax(dim=1).numpy() == self.truth[rows]).tolist()
        self.seconds[name].append(seconds)


def _logits(table: Tensor, head: Head) -> Tensor:
    return table @ head.weight.T + head.bias


def measured(source: Path, options: argparse.Namespace) -> Recipes:
    """All recipes on a data set, whose table is printed."""
    with tempfile.TemporaryDirectory() as folder:
        recipes = Recipes(source, options.most, options.network, options.epochs, Path(folder))
        folds = linear_head.make_folds(recipes.targets, options.folds, 0, recipes.groups)
        measure = recipes.measure_heads if options.heads else recipes.measure
        for fold in range(options.folds):
            measure(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold))
    slowest_s = max(float(np.median(seconds)) for seconds in recipes.seconds.values())
    print(f"{source.name}: {len(folds)} images, {recipes.epochs} epochs at {recipes.tuned.resolution} px")
    print(ROW.format("recipe", "accuracy", "±", "wrong", "seconds", "ratio"))
    for name, hits in recipes.hits.items():
        rate, seconds = float(np.mean(hits)), float(np.median(recipes.seconds[name]))
        error, wrong = (rate * (1 - rate) / len(hits)) ** 0.5, hits.count(False)
        ratio = seconds / slowest_s
        print(ROW.format(name, f"{rate:.4f}", f"{error:.4f}", wrong, f"{seconds:.1f}", f"{ratio:.2f}"))
    return recipes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--most", type=int, default=2000)
    parser.add_argument("--network", type=int, choices=(0, 1, 2), default=0)
    parser.add_argument("--heads", action="store_true")
    options = parser.parse_args()
    done = [measured(source, options) for source in options.data]
    wrong = {name: sum(one.hits[name].count(False) for one in done) for name in done[0].hits}
    print(f"wrong in all: {wrong}")


if __name__ == "__main__":
    main()

"""The speed of embeddings and suggestions, beside the machine's limit in one run, and few images a label.

    python -m benchmarks.suggestions [--images 20000] [--photos FOLDER]
    python -m benchmarks.suggestions --data FOLDER [FOLDER …] [--draws 20]

embed      the labeling worker's job on stored images (reading, network, storing), against the engine's own
           `features.extract_features` of the same network on pixels in memory
refresh    the job that suggests a label for every unlabeled image, with 600 labeled ones and 30 labels: cold
           (all vectors are read) and warm (as after every action); beside the bare products of its matrices
--data     2 to 9 images of each label are drawn from each data set and learned from. Suggestions for others,
           with the set's frequencies or with skewed ones: right with nearest means (SimpleShot), with the
           discriminant analysis alone, and with neighbours as the product has it; what those state, and how
           many are stated above 90 % and right. Heads of trainings: right with nearest means and with the
           head, stated, and how often the cross-validation's interval holds what is right.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.labeling import set_up

PHOTOS, LABELS, LABELED, WIDTH = 1024, 30, 600, 1280
FEW, MOST_IMAGES, MOST_OTHERS, SURE = (2, 3, 5, 9), 2_000, 900, 0.9
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--photos", type=Path, help="real photos to embed; noise at photo size without it")
    parser.add_argument("--data", type=Path, nargs="+", help="folders of data sets: only few images of each")
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    if options.data:
        few_images(options.data, options.draws)
        return
    with tempfile.TemporaryDirectory(prefix="exeml-suggestions-") as folder:
        set_up(folder, "")
        embed(options.photos)
        refresh(options.images)


def timed(work: Any, *arguments: Any) -> float:
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def embed(photos: Path | None) -> None:
    from projects.images import upload
    from projects.models import Project, Team
    from training.assist import embed_images
    from training.engine.backbones import classifier, features
    from training.engine.backbones.classifier import Head, Member
    from training.engine.backbones.registry import NETWORKS

    project = Project.objects.create(team=Team.objects.create(name="Embed"), name="embed")
    upload.add_images(project, pictures(photos), None)
    count = project.images.count()
    embed_images._embedder()  # loading is once a day
    job_s = timed(embed_images.embed, project.pk)
    import torch

    member = Member(
        NETWORKS[0],
        NETWORKS[0].resolution,
        classifier.pretrained_state(NETWORKS[0]),
        Head(torch.zeros(1, WIDTH), torch.zeros(1)),
    )
    side = member.resolution
    pixels = np.random.default_rng(0).integers(0, 256, (256, side, side, 3), dtype=np.uint8)
    marks: list[float] = []
    threads = os.cpu_count() or 1
    rows = list(range(256)) * max(1, count // 256)
    features.extract_features(
        member, pixels, threads, "cpu", lambda _: marks.append(time.perf_counter()), rows
    )
    engine = (len(marks) - 64) / (marks[-1] - marks[63])  # the first ones wait for the network to load
    print(f"embed: {count / job_s:.0f} images/s; engine {engine:.0f}; ratio {count / job_s / engine:.2f}")


def pictures(photos: Path | None) -> list[io.BytesIO]:
    if photos:
        files = sorted(one for one in photos.rglob("*") if one.suffix.lower() in (".jpg", ".jpeg", ".png"))
        return [named(one.read_bytes(), one.name) for one in files[:PHOTOS]]
    from PIL import Image

    random, found = np.random.default_rng(1), []
    for number in range(PHOTOS):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        found.append(named(file.getvalue(), f"{number}.jpg"))
    return found


def named(content: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name  # type: ignore[attr-defined]
    return file


def refresh(images: int) -> None:
    from training.assist import suggest_labels

    project = make_project_with_embeddings(images)
    cold = timed(suggest_labels.update_suggestions, project.pk)
    again = timed(suggest_labels.update_suggestions, project.pk)
    relabel(project)
    warm = timed(suggest_labels.update_suggestions, project.pk)
    floor = bare(images)
    times = f"cold {cold:.2f} s, after an action {warm:.2f} s, nothing new {again:.2f} s"
    print(f"refresh of {images:,} unlabeled: {times}; bare products {floor:.2f} s, ratio {warm / floor:.0f}")


def bare(images: int) -> float:
    """Covariance of the labeled rows, and scores of the others."""
    random = np.random.default_rng(0)
    some = random.standard_normal((LABELED, WIDTH), dtype=np.float32)
    rest = random.standard_normal((images, WIDTH), dtype=np.float32)
    weight = random.standard_normal((WIDTH, LABELS), dtype=np.float32)
    some.T @ some
    return timed(lambda: (some.T @ some, rest @ weight))


def make_project_with_embeddings(images: int) -> Any:
    from django.utils import timezone

    from projects.images import similarity
    from projects.labels import actions
    from projects.models import Annotation, Embedding, Image, Project, Team
    from training.assist.embed_images import network_name

    project = Project.objects.create(team=Team.objects.create(name="Refresh"), name="refresh")
    labels = actions.ensure_labels(project, [f"label {n}" for n in range(LABELS)])
    total = images + LABELED
    rows = Image.objects.bulk_create(
        Image(
            project=project,
            sha256=f"{n:064x}",
            name=f"{n}.jpg",
            format="JPEG",
            width=9,
            height=9,
            size_bytes=1,
            is_labeled=n < LABELED,
        )
        for n in range(total)
    )
    random = np.random.default_rng(2)
    mine = np.arange(total) % LABELS
    vectors = random.standard_normal((LABELS, WIDTH))[mine] + 2.5 * random.standard_normal((total, WIDTH))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    stored = zip(rows, similarity.pack(vectors), similarity.sketches(vectors), strict=True)
    Embedding.objects.bulk_create(
        [Embedding(image=row, network=network_name(), vector=v, sketch=s) for row, v, s in stored],
        batch_size=2000,
    )
    now = timezone.now()
    Annotation.objects.bulk_create(
        Annotation(image=row, label=labels[n % LABELS], at=now) for n, row in enumerate(rows[:LABELED])
    )
    return project


def relabel(project: Any) -> None:
    """An action of a user: twenty more labels."""
    from projects.labels import actions

    waiting = project.images.unlabeled().order_by("pk").values_list("pk", flat=True)[:20]
    actions.apply(project, list(waiting), add=["label 3"], by=None)


# --- few images of each label ---


class Draw(NamedTuple):
    """Rows of a data set: `labeled` are learned from, `others` judged."""

    features: Floats
    labels: Rows
    labeled: Rows
    others: Rows

    @property
    def targets(self) -> Floats:
        return np.eye(self.labels.max() + 1, dtype=np.float32)[self.labels[self.labeled]]

    def right(self, scores: Floats) -> NDArray[np.bool_]:
        return np.asarray(scores.argmax(1) == self.labels[self.others])


def few_images(sources: Sequence[Path], draws: int) -> None:
    for source in sources:
        features, labels = embedded(source)
        print(f"\n{source.name}: {len(labels)} images, {labels.max() + 1} labels, {draws} draws")
        for each in FEW:
            for is_skewed in (False, True):
                drawn = [draw(features, labels, each, is_skewed, seed) for seed in range(draws)]
                show(
                    each, "suggestions, skewed" if is_skewed else "suggestions", [suggested(d) for d in drawn]
                )
            drawn = [draw(features, labels, each, False, seed) for seed in range(draws)]
            show(each, "head", [trained(d) for d in drawn])


def embedded(source: Path) -> tuple[Floats, Rows]:
    from training.engine.assist.embedder import Embedder
    from training.engine.data import layouts

    samples = [sample for sample in layouts.samples_for_fit(source, None, 0) if len(sample.labels) == 1]
    order = np.random.default_rng(0).permutation(len(samples))[:MOST_IMAGES]
    features, is_readable = Embedder(os.cpu_count() or 1).embed([samples[row].path for row in order])
    names = np.array([samples[row].labels[0] for row in order])
    return features[is_readable], np.unique(names[is_readable], return_inverse=True)[1]


def draw(features: Floats, labels: Rows, each: int, is_skewed: bool, seed: int) -> Draw:
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    kinds = range(labels.max() + 1)
    labeled = np.concatenate([order[labels[order] == kind][:each] for kind in kinds])
    others = order[~np.isin(order, labeled)]
    if is_skewed:
        frequency = np.exp(1.5 * random.standard_normal(len(kinds)))
        others = others[random.random(len(others)) < (frequency / frequency.max())[labels[others]]]
    return Draw(features, labels, labeled, others[:MOST_OTHERS])


def nearest_means(d: Draw) -> Floats:
    """Cosines to the means of the labels, around the mean of all rows (SimpleShot, 1911.04623)."""
    centred = d.features - d.features[d.others].mean(0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    means = d.targets.T @ centred[d.labeled]
    return np.asarray(centred[d.others] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T)


def suggested(d: Draw) -> dict[str, float]:
    from training.engine.assist import label_suggestions

    fitted = label_suggestions.fit(d.features[d.labeled], d.targets, False)
    assert fitted
    alone = fitted.probabilities(d.features[d.others])
    shared = label_suggestions.share_with_neighbours(d.features[d.others], alone)
    rates = {"nearest means": d.right(nearest_means(d)).mean(), "alone": d.right(alone).mean()}
    return rates | stated_and_right(d, shared)


def stated_and_right(d: Draw, probabilities: Floats) -> dict[str, float]:
    stated, is_right = probabilities.max(1), d.right(probabilities)
    sure = stated > SURE
    kept = {"right": is_right.mean(), "stated": stated.mean(), "sure": sure.mean()}
    return kept | {"sure and right": (sure & is_right).mean()}


def trained(d: Draw) -> dict[str, float]:
    import torch

    from training.engine.bundle.bundle import calibrate
    from training.engine.cross_validation import FOLDS, SHARED_TRAINING
    from training.engine.evaluation import intervals
    from training.engine.evaluation.scoring import balanced_weights
    from training.engine.search import linear_head

    rows, weights = torch.from_numpy(d.features[d.labeled])[None], balanced_weights(d.targets)
    folds = linear_head.make_folds(d.targets, FOLDS, 0)
    fit = linear_head.cross_validate(rows, d.targets, folds, False, weights, lambda: None)
    logits = d.features[d.others] @ fit.head.weight.numpy().T + fit.head.bias.numpy()
    rates = stated_and_right(d, calibrate(logits, fit.score.temperature, False))
    expected = float((fit.held_out.argmax(1) == d.labels[d.labeled]).mean())
    low, high = intervals.wilson_interval(expected, len(d.labeled) / SHARED_TRAINING)
    rates |= {"nearest means": d.right(nearest_means(d)).mean(), "cross-validated": expected}
    return rates | {"held": low <= rates["right"] <= high, "too high": rates["right"] < low}


def show(each: int, title: str, rates: list[dict[str, float]]) -> None:
    means = {name: 100 * float(np.mean([rate[name] for rate in rates])) for name in rates[0]}
    sure, sure_and_right = means.pop("sure"), means.pop("sure and right")
    text = ", ".join(f"{name} {value:.1f}" for name, value in means.items())
    share = f"{100 * sure_and_right / sure:.1f}" if sure else "none"
    print(f"  {each} a label, {title}: {text}; {sure:.0f} % stated above {100 * SURE:.0f}, right {share}")


if __name__ == "__main__":
    sys.exit(main())

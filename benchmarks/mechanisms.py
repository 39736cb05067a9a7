"""What each mechanism of our own saves against the way of Django or of a library.

    python -m benchmarks.mechanisms [NAME ...] [--images 100000] [--pairs 15] [--database postgresql://…]
                                    [--bundle FOLDER --photos FOLDER]

Both ways run alternately in one run, and the way that goes first changes with every pair, so that a busy
machine slows both. Printed are the medians and the ratio library : ours, which is the median over the pairs:
1.25 means that ours saves a fifth. NAME is a function below:

writers           transactions of six processes that label without pause: Django's SQLite backend
counts            Label Data with counts that events move on: COUNT … GROUP BY for every page
suggestions       suggestions written for 5,000 images: bulk_update
preload           a service's first call in a new process: no model loaded before (--bundle, --photos)
onnx_pipeline     the picture's way into the network in the export: ONNX Resize with antialias (the same)
label_suggestions probabilities of 600 labeled images, each left out: scikit-learn, five folds
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.labeling import LABELS, ROOT, World, make_world, set_up

ROW = "{:<42}{:>12}{:>12}{:>8}"
WRITERS, WRITING_S, LABELED_AT_ONCE = 6, 6.0, 20
SUGGESTED = 5_000
Way = Callable[[], object]


def compare(name: str, library: Way, ours: Way, pairs: int) -> None:
    """Print the medians in milliseconds and their ratio. The first pair warms up and is not counted."""
    show(name, list(alternately(lambda: timed(library), lambda: timed(ours), pairs + 1))[1:])


def alternately(library: Callable[[], float], ours: Callable[[], float], pairs: int) -> Iterator[Any]:
    for number in range(pairs):
        if number % 2:
            yield library(), ours()
        else:
            own = ours()
            yield library(), own


def show(name: str, pairs: list[tuple[float, float]]) -> None:
    ratio = statistics.median(peer / own for peer, own in pairs)
    peer, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(ROW.format(name, f"{peer:.1f}", f"{own:.1f}", f"{ratio:.2f}"), flush=True)


def timed(way: Way) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    way()
    return 1000 * (time.perf_counter() - began)


# --- Label Data ---


class Labeler:
    """A signed-in person who asks this process, without a server."""

    def __init__(self, world: World) -> None:
        from django.test import Client

        self._images = world.images
        self._client = Client(HTTP_HX_REQUEST="true")
        self._client.cookies["sessionid"] = world.sessions[0]
        self._address = f"/projects/{world.project}/label-data/"

    def grid(self) -> None:
        assert self._client.get(f"{self._address}?tab=all").status_code == 200

    def label(self, count: int) -> None:
        start = random.randrange(len(self._images) - count)
        images = ",".join(map(str, self._images[start : start + count]))
        form = {"images": images, "add": f"label {random.randrange(LABELS)}"}
        assert self._client.post(f"{self._address}label/?tab=all", form).status_code == 200


def counts(options: argparse.Namespace, world: World) -> None:
    from projects.labels import counts as ours

    def count_anew(project: Any, *, is_quick: bool = True) -> Any:
        living, quick = ours._count_living(project), ours._count_quick(project)
        images = {**living, **quick, "all": living["unlabeled"] + living["labeled"]}
        return ours.Counts(images, ours._count_carriers(project))

    labeler = Labeler(world)
    pages = {
        "counts, grid": labeler.grid,
        "counts, label 1": lambda: labeler.label(1),
        "counts, label 200": lambda: labeler.label(200),
    }
    for name, page in pages.items():

        def plain(page: Way = page) -> None:
            with (
                mock.patch("projects.label_data.page.counts_of", count_anew),
                mock.patch("projects.labels.counts.counts_of", count_anew),
            ):
                page()

        compare(name, plain, page, options.pairs)


WRITER = """
import json, random, sys, time
import django
from django.conf import settings
engine, project, seconds, count = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
settings.DATABASES["default"]["ENGINE"] = engine
django.setup()
from django.db import OperationalError
from projects.labels import actions
from projects.models import Project
project = Project.objects.get(pk=project)
images = list(project.images.values_list("pk", flat=True)[:5000])
print("ready", flush=True)
sys.stdin.readline()
times, failures, until = [], 0, time.monotonic() + seconds
while time.monotonic() < until:
    began = time.perf_counter()
    try:
        actions.apply(project, random.sample(images, count), add=[f"label {random.randrange(30)}"], by=None)
    except OperationalError:
        failures += 1
    times.append(1000 * (time.perf_counter() - began))
print(json.dumps([times, failures]))
"""


def writers(options: argparse.Namespace, world: World) -> None:
    failed = {"library": 0, "ours": 0}
    longest = {"library": 0.0, "ours": 0.0}

    def p95(kind: str, engine: str) -> float:
        command = [sys.executable, "-c", WRITER, engine, str(world.project), str(WRITING_S)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        every = [
            subprocess.Popen([*command, str(LABELED_AT_ONCE)], cwd=ROOT, **pipes) for _ in range(WRITERS)
        ]
        for process in every:
            assert process.stdout.readline() == "ready\n"
        for process in every:
            process.stdin.write("\n")
            process.stdin.flush()
        times: list[float] = []
        for process in every:
            own, failures = json.loads(process.communicate()[0])
            times += own
            failed[kind] += failures
        longest[kind] = max(longest[kind], *times)
        return sorted(times)[int(0.95 * len(times))]

    pairs = alternately(
        lambda: p95("library", "django.db.backends.sqlite3"),
        lambda: p95("ours", "exeml_site.sqlite3"),
        max(3, options.pairs // 3),
    )
    show("writers, p95 of labeling 20 images", list(pairs))
    print(f"  longest: {longest['library']:.0f} and {longest['ours']:.0f} ms; locked: {failed}")


# --- jobs ---


def suggestions(options: argparse.Namespace, world: World) -> None:
    from projects.models import Image
    from training.assist import suggest_labels

    unlabeled = Image.objects.filter(project=world.project).unlabeled().order_by("pk")
    ids = list(unlabeled.values_list("pk", flat=True)[:SUGGESTED])

    def wanted() -> list[Any]:
        return [
            suggest_labels.Suggestion(pk, random.choice(world.labels), random.random(), random.random())
            for pk in ids
        ]

    def portions(many: list[Any]) -> Iterator[list[Any]]:
        for start in range(0, len(many), suggest_labels.WRITE_BATCH_SIZE):
            yield many[start : start + suggest_labels.WRITE_BATCH_SIZE]

    def ours() -> None:
        for part in portions(wanted()):
            suggest_labels._write(part)

    def library() -> None:
        names = ["suggestion", "confidence", "acquisition_score"]
        for part in portions(wanted()):
            rows = [
                Image(
                    pk=suggestion.image_id,
                    suggestion_id=suggestion.suggestion,
                    confidence=suggestion.confidence,
                    acquisition_score=suggestion.acquisition_score,
                )
                for suggestion in part
            ]
            Image.objects.alive().unlabeled().bulk_update(rows, names, batch_size=100)

    compare(f"suggestions, {len(ids):,} images", library, ours, max(3, options.pairs // 3))


def label_suggestions(options: argparse.Namespace, world: World) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import cross_val_predict

    from training.engine.assist import label_suggestions as ours

    dice = np.random.default_rng(0)
    names = np.arange(600) % LABELS
    rows = dice.standard_normal((LABELS, 1280))[names] + 2.5 * dice.standard_normal((600, 1280))
    features = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    targets = np.eye(LABELS, dtype=np.float32)[names]
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=ours.SHRINKAGE)

    def library() -> None:
        cross_val_predict(model, features, names, cv=5, method="predict_proba")
        model.fit(features, names)

    compare(
        "label_suggestions, 600 of 30 labels",
        library,
        lambda: ours.out_of_fold_probabilities(features, targets),
        max(3, options.pairs // 5),
    )


# --- models ---

FIRST_CALL = """
import sys, time
from pathlib import Path
from training.engine.bundle.bundle import Bundle
bundle, photo, is_loaded = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), sys.argv[3] == "loaded"
model = Bundle.load(bundle, 2) if is_loaded else None
began = time.perf_counter()
(model or Bundle.load(bundle, 2)).answer(photo)
print(1000 * (time.perf_counter() - began))
"""


def preload(options: argparse.Namespace, world: World) -> None:
    photo = photos_of(options)[0]

    def first_call(state: str) -> float:
        command = [sys.executable, "-c", FIRST_CALL, str(options.bundle), str(photo), state]
        return float(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)

    pairs = alternately(lambda: first_call("cold"), lambda: first_call("loaded"), max(3, options.pairs // 3))
    show("preload, first call", list(pairs))


def onnx_pipeline(options: argparse.Namespace, world: World) -> None:
    """Also the differences of the scores from the bundle's own."""
    import onnxruntime

    from training.engine.bundle import onnx_pipeline as ours
    from training.engine.bundle.bundle import Bundle
    from training.engine.data.images import load_rgb

    bundle, photos = Bundle.load(options.bundle, os.cpu_count()), photos_of(options)
    side = bundle.description["preprocessing"]["side"]
    graphs = {"ours": ours.pipeline_graph(options.bundle)}
    with (
        mock.patch.object(ours, "_draw_pixels", draw_resize),
        mock.patch.object(ours.onnx, "load", load_opset_18),
    ):
        graphs["library"] = ours.pipeline_graph(options.bundle)
    sessions = {name: onnxruntime.InferenceSession(graph) for name, graph in graphs.items()}
    apart: dict[str, list[float]] = {"library": [], "ours": []}
    pairs = []
    for path in photos:
        expected = bundle.answer(path.read_bytes()).scores
        pixels = np.asarray(load_rgb(path, at_least=2 * side))

        def ask(name: str, pixels: Any = pixels, expected: Any = expected) -> float:
            began = time.perf_counter()
            scores = sessions[name].run(["scores"], {"picture": pixels})[0]
            apart[name].append(float(np.abs(scores - expected).max()))
            return 1000 * (time.perf_counter() - began)

        pairs += alternately(lambda ask=ask: ask("library"), lambda ask=ask: ask("ours"), 1)
    show("onnx_pipeline", pairs)
    for name, gaps in apart.items():
        far = sum(gap > 0.01 for gap in gaps)
        print(f"  {name}: scores differ by {max(gaps):.4f} at most; {far} of {len(gaps)} by more than 0.01")


def draw_resize(drawing: Any, preprocessing: dict[str, Any]) -> None:
    """The window, cut at whole pixels, and Resize in place of the pipeline's own bicubic reduction."""
    from onnx import TensorProto

    from training.engine.data.images import MAX_STRETCH, MIN_VISIBLE_SHARE

    shape = drawing.add("Shape", "picture", start=0, end=2)
    sizes = drawing.add("Cast", shape, to=TensorProto.FLOAT)
    long, short = drawing.add("ReduceMax", sizes), drawing.add("ReduceMin", sizes)
    stretched = drawing.add("Min", long, drawing.add("Mul", short, drawing.number(MAX_STRETCH)))
    longest = drawing.add("Max", stretched, drawing.add("Mul", long, drawing.number(MIN_VISIBLE_SHARE)))
    margins = drawing.add("Sub", sizes, drawing.add("Min", sizes, longest))
    start = drawing.add("Round", drawing.add("Mul", margins, drawing.number(0.5)))
    end = drawing.add("Sub", sizes, start)
    box = [drawing.add("Cast", corner, to=TensorProto.INT64) for corner in (start, end)]
    seen = drawing.add("Slice", "picture", *box, drawing.constant(np.array([0, 1])))
    square = drawing.add("Unsqueeze", seen, drawing.constant(np.array([0])))
    side = int(preprocessing["side"])
    for size in dict.fromkeys([side, *map(int, preprocessing["resolutions"])]):
        cubic = {"mode": "cubic", "cubic_coeff_a": -0.5, "antialias": 1, "exclude_outside": 1}
        wanted = drawing.constant(np.array([size, size]))
        resized = drawing.add("Resize", square, "", "", wanted, axes=[1, 2], **cubic)
        square = resized if size == side else square
        if size in preprocessing["resolutions"]:
            drawing.add("Identity", resized, name=f"images_{size}")


def load_opset_18(path: Path) -> Any:
    import onnx

    return onnx.version_converter.convert_version(onnx.load_model(path), 18)


def photos_of(options: argparse.Namespace) -> list[Path]:
    if not (options.bundle and options.photos):
        raise SystemExit("This needs --bundle, a trained model's folder, and --photos with JPEG files.")
    return sorted(options.photos.rglob("*.jpg"))


ALL = (writers, counts, suggestions, label_suggestions, preload, onnx_pipeline)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[[], *(one.__name__ for one in ALL)])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--database", default="", help="an empty database; SQLite without it")
    parser.add_argument("--bundle", type=Path, help="a trained model's folder")
    parser.add_argument("--photos", type=Path, help="JPEG files, in any subfolder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-mechanisms-") as folder:
        set_up(folder, options.database)
        world = make_world(options.images)
        print(ROW.format("", "library", "ours", "ratio"))
        for function in ALL:
            if not options.names or function.__name__ in options.names:
                function(options, world)


if __name__ == "__main__":
    main()

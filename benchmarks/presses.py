"""The number of key presses and clicks that it takes to label a set correctly, starting without labels.

    python -m benchmarks.presses DATA ... [--page 100]

A script simulates a careful person who knows the label of every image on the page, with the product's own
actions and jobs. The labels exist already (adding one is its name and Enter, once). Its strategy:

* Unlabeled, in suggested order: the key of the label, one press per image, which moves to the next; until
  every label has two images, or FIRST images a label were shown.
* To Be Confirmed, by falling confidence, a page at a time: where all are right, one press confirms the page.
  Where the first ENOUGH or more are right, a click on the first, one with Shift on the last, and one press
  confirm these. Where few are wrong, a click on each wrong one (with Ctrl), a key for each label that they
  really have, and one press that confirms the rest. The option with the fewest presses per image is chosen.
* Where none of this costs less than one press per image, the next UNSURE images of Unlabeled, in suggested
  order, one press each, which improve the suggestions most.

Suggestions are refreshed after every page, and between a look at a page and the press that confirms it, as
the worker does meanwhile: the person confirms what was seen, and images whose suggestion changed are left.
Key presses and clicks are counted, and the labels that are wrong in the end. DATA is a layout that the
engine's command line reads; its test images are left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.labeling import set_up

FIRST, UNSURE, ENOUGH = 6, 6, 8
CLICKS = {"click a wrong one", "select a part"}  # all else are presses of a key


@dataclass(frozen=True)
class Move:
    """What the person could do with a page: confirm `good`, mend `wrong`, with so many presses."""

    presses: Counter[str]
    good: list[int]
    wrong: list[int]
    seen: dict[int, Any]

    @property
    def cost(self) -> float:
        return sum(self.presses.values()) / max(1, len(self.good) + len(self.wrong))


@dataclass
class Person:
    """Works on one project; `truth` is image id → label name."""

    project: Any
    truth: dict[int, str]
    page: int
    presses: Counter[str] = field(default_factory=Counter)
    model_s: float = 0.0
    refreshes: int = 0
    left: int = 0

    def work(self) -> None:
        self.begin()
        while self.waiting().exists():
            self.learn()
            best = min(self.moves(), key=lambda move: move.cost, default=None)
            if best is None or best.cost >= 1:
                self.label_unsure()
            else:
                self.do(best)

    def begin(self) -> None:
        """The first images, one by one."""
        from projects.labels import actions

        labels = len(set(self.truth.values()))
        given: Counter[str] = Counter()
        while len(given) < labels or min(given.values()) < 2:
            if sum(given.values()) >= FIRST * labels:
                break
            if sum(given.values()) % labels == 0:
                self.learn()  # the order of what is most useful
            image = self.waiting().order_by("-acquisition_score", "-pk").first()
            actions.apply(self.project, [image.pk], add=[self.truth[image.pk]], by=None)
            given[self.truth[image.pk]] += 1
            self.presses["label one"] += 1

    def learn(self) -> None:
        from training.assist import suggest_labels

        began = time.perf_counter()
        suggest_labels.update_suggestions(self.project.pk)
        self.model_s += time.perf_counter() - began
        self.refreshes += 1

    def waiting(self) -> Any:
        return self.project.images.unlabeled()

    def moves(self) -> list[Move]:
        """What can be done with the surest page."""
        from projects.labels.seen_images import SeenImage

        order = self.waiting().exclude(suggestion=None).order_by("-confidence", "-pk")
        page = list(order.values_list("pk", "suggestion__name", "suggestion")[: self.page])
        wrong = [place for place, (pk, name, _) in enumerate(page) if name != self.truth[pk]]
        ids = [pk for pk, *_ in page]
        seen = {pk: SeenImage(frozenset(), suggestion) for pk, _, suggestion in page}
        if not page:
            return []
        if not wrong:
            return [Move(Counter({"confirm a page": 1}), ids, [], seen)]
        labels = len({self.truth[ids[place]] for place in wrong})
        mended = Counter({"click a wrong one": len(wrong), "mend": labels, "confirm the rest": 1})
        good = [pk for place, pk in enumerate(ids) if place not in set(wrong)]
        found = [Move(mended, good, [ids[place] for place in wrong], seen)]
        if wrong[0] >= ENOUGH:
            part = Counter({"select a part": 2, "confirm a part": 1})
            found.append(Move(part, ids[: wrong[0]], [], seen))
        return found

    def do(self, move: Move) -> None:
        from projects.labels import actions, suggestions

        by_truth: dict[str, list[int]] = {}
        for pk in move.wrong:
            by_truth.setdefault(self.truth[pk], []).append(pk)
        for name, images in by_truth.items():
            actions.apply(self.project, images, add=[name], by=None)
        self.learn()
        seen = {pk: move.seen[pk] for pk in move.good}
        result = suggestions.confirm_suggestions(self.project, move.good, None, seen)
        self.left += result.left.changed + result.left.relabeled
        self.presses += move.presses

    def label_unsure(self) -> None:
        from projects.labels import actions

        for image in self.waiting().order_by("-acquisition_score", "-pk")[:UNSURE]:
            actions.apply(self.project, [image.pk], add=[self.truth[image.pk]], by=None)
            self.presses["label one"] += 1

    def wrong_labels(self) -> int:
        """Images whose label is not the true one."""
        from projects.models import Annotation

        given = dict(Annotation.objects.values_list("image", "label__name"))
        return sum(given.get(pk) != name for pk, name in self.truth.items())


def import_folder(data: Path) -> tuple[Any, dict[int, str], float]:
    """A project with the embedded images of DATA and its labels, the truth of each, seconds of embedding."""
    from projects.images import upload
    from projects.labels import actions
    from projects.models import Project, Team
    from training.assist import embed_images
    from training.engine.data.layouts import samples_for_fit

    project = Project.objects.create(team=Team.objects.create(name=data.name), name="benchmark")
    truth: dict[int, str] = {}
    for sample in samples_for_fit(data, None, 0):
        with sample.path.open("rb") as file:
            [outcome] = upload.add_images(project, [file], None)
        if outcome.image is not None:
            truth[outcome.image.pk] = sample.labels[0]
    actions.ensure_labels(project, sorted(set(truth.values())))
    began = time.perf_counter()
    while embed_images.embed(project.pk):
        pass
    return project, truth, time.perf_counter() - began


def run(data: Path, page: int) -> None:
    project, truth, embed_s = import_folder(data)
    person = Person(project, truth, page)
    person.work()
    total = sum(person.presses.values())
    clicks = sum(number for what, number in person.presses.items() if what in CLICKS)
    print(
        f"{data.name}: {len(truth)} images, {len(set(truth.values()))} labels: {total - clicks} presses and "
        f"{clicks} clicks, {total / len(truth):.3f} an image, one for {len(truth) / total:.1f} images; "
        f"{person.wrong_labels()} wrong labels, {person.left} times left; "
        f"embedding {embed_s:.0f} s, {person.refreshes} refreshes {person.model_s:.0f} s"
    )
    print("   " + ", ".join(f"{what} {number}" for what, number in person.presses.most_common()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--page", type=int, default=100, help="images that a person looks at together")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exeml-presses-") as folder:
        set_up(folder, "")
        for data in options.data:
            run(data, options.page)


if __name__ == "__main__":
    main()

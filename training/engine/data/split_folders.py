"""Folders that name a split, such as `train`, `valid` or `test_images`, and folders that are labels.

Exporters and courses name the folders of training, validation and test sets in many ways. Such a folder is
never a label, with one exception: `train` or `valid` alone beside folders of other things, as in bus, car,
train. Images in `test` or `unlabeled` beside folders of labels have no label.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

MAX_LEVELS = 5  # of folders that may be columns
_SPLIT_WORDS = {
    "TRAIN": ("train", "training", "trn", "训练", "訓練", "学習"),
    "EVAL": (
        *("val", "valid", "validation", "validate", "validating", "eval", "evaluation", "dev"),
        *("验证", "驗證", "検証"),
    ),
    "TEST": ("test", "testing", "tests", "tst", "holdout", "hold-out", "hold_out", "测试", "測試", "テスト"),
    "": ("unlabeled", "unlabelled", "unassigned", "trainval"),
}
_USAGE_OF_WORD = {word: usage for usage, words in _SPLIT_WORDS.items() for word in words}
_CONTAINERS = (
    r"images?|imgs?|photos?|pictures?|pics?|jpegimages|data|datasets?|sets?|splits?|folders?|dirs?|labeled"
    r"|集|数据集|數據集|データ"
)
_SPLIT_FOLDER = re.compile(
    rf"(?:\d+[\W_]+)?(?:(?:{_CONTAINERS})[\W_]*)*({'|'.join(sorted(_USAGE_OF_WORD, key=len, reverse=True))})"
    rf"(?:[\W_]*(?:{_CONTAINERS}|v?\d+))*[\W_]*"
)
# Folders that only hold the splits or all images, and so are no labels either.
_CONTAINER_FOLDER = re.compile(
    r"images|imgs?|jpegimages|labell?ed|data|datasets?(?:[\W_]*splits?)?|splits?|(?:all|raw)[\W_]*images",
    re.I,
)


def usage_of_folder(name: str) -> str | None:
    """TRAIN, EVAL, TEST, or empty for a folder of no split such as `unlabeled`. None for any other name."""
    match = _SPLIT_FOLDER.fullmatch(name.strip().lower())
    return _USAGE_OF_WORD[match[1]] if match else None


# The words that stand for a split within longer names, such as `seg_train` beside `seg_test`.
_INNER_WORD = re.compile(r"(?<![^\W_])(train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?|pred)(?![^\W_])", re.I)


def usages_of_family(names: Iterable[str]) -> dict[str, str]:
    """The usage of names that differ from another one in the word of the split alone.

    `seg_train` and `seg_test` are splits; `seg_test` alone, or beside `seg_road`, may be a label.
    """
    families: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in names:
        for word in _INNER_WORD.finditer(name):
            rest = (name[: word.start()].lower(), name[word.end() :].lower())
            families[rest][name] = _USAGE_OF_WORD.get(word[0].lower(), "")
    return {
        name: usage
        for family in families.values()
        if len(set(family.values())) > 1
        for name, usage in family.items()
    }


@dataclass(frozen=True)
class Placed:
    """What the folders above a file say: its label, empty if none, and its split's usage.

    `name`: the nearest folder that is no split, be it one that holds every image; `top`: the outermost one.
    """

    label: str = ""
    usage: str = ""
    name: str = ""
    top: str = ""


@dataclass(frozen=True)
class FolderLevel:
    """A level of folders (0 for the top) that differ and are no labels: `names` → number of images.

    `is_kept`: a person named a column for it.
    """

    level: int
    names: Counter[str]
    is_kept: bool = False


class FolderTree:
    """The folders of an archive's images. A folder that holds every image is no label."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._counts = Counter(folder for path in paths for folder in _parents(path))
        self._total = self._counts[""]
        self._children: dict[str, set[str]] = defaultdict(set)
        for folder in self._counts:
            if folder:
                self._children[folder.rpartition("/")[0]].add(folder)
        self._families: dict[str, str] = {}  # a folder within one of its own name is the same split
        for children in self._children.values():
            self._families |= usages_of_family(folder.rpartition("/")[2] for folder in children)
        self._usages = {folder: self._usage(folder) for folder in self._counts if folder}
        self._placed: dict[str, Placed] = {}

    def place(self, path: str) -> Placed:
        """The label and the split of an image: the nearest folder that is no split is its label."""
        folder = path.rpartition("/")[0]
        if folder not in self._placed:
            self._placed[folder] = self._place(folder)
        return self._placed[folder]

    def _place(self, folder: str) -> Placed:
        label = name = top = ""
        usage = None
        while folder:
            part, found = folder.rpartition("/")[2], self._usages.get(folder)
            if found is not None:
                usage = found if usage is None else usage
            elif not _CONTAINER_FOLDER.fullmatch(part):
                name, top = name or part, part
                label = label or (part if self._counts[folder] < self._total else "")
            folder = folder.rpartition("/")[0]
        return Placed(label, usage or "", name, top)

    def levels(self, path: str, *, has_label: bool) -> dict[int, str]:
        """Level (0 for the top) → name of the folders that are neither a split nor, with `has_label`, the
        label."""
        parts = path.split("/")[:-1]
        found: dict[int, str] = {}
        for level in reversed(range(len(parts))):
            folder = "/".join(parts[: level + 1])
            if self._usages.get(folder) is not None or _CONTAINER_FOLDER.fullmatch(parts[level]):
                continue
            if has_label:
                has_label = self._counts[folder] == self._total
            else:
                found[level] = parts[level]
        return found

    def _usage(self, folder: str) -> str | None:
        parent, _, name = folder.rpartition("/")
        if name in self._families and not usage_of_folder(name):
            return self._families[name]
        usage = usage_of_folder(name)
        if usage not in ("TRAIN", "EVAL") or self._children[folder]:
            return usage
        beside = [other.rpartition("/")[2] for other in self._children[parent] if other != folder]
        others = [other for other in beside if not _CONTAINER_FOLDER.fullmatch(other)]
        is_thing = bool(others) and all(usage_of_folder(other) is None for other in others)
        return None if is_thing else usage


def folder_levels(
    paths: Iterable[str], tree: FolderTree, kept: Container[str], *, has_label: bool
) -> list[FolderLevel]:
    """The levels of folders with two names or more, the top first; a person `kept` some of them."""
    names: dict[int, Counter[str]] = defaultdict(Counter)
    for path in paths:
        for level, name in tree.levels(path, has_label=has_label).items():
            names[level][name] += 1
    levels = [level for level in sorted(names) if len(names[level]) > 1][:MAX_LEVELS]
    return [FolderLevel(level, names[level], str(level) in kept) for level in levels]


def _parents(path: str) -> Iterator[str]:
    """Every folder above a file, and the empty root."""
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""

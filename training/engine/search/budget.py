"""How the time of a fit is spread over its stages: pure functions of sizes, speeds and limits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# Shares of the time limit, at most:
HEADS_SHARE = 0.35  # frozen features and their heads
FIRST_FEATURES_SHARE = 0.25  # the features of the first network
FITTING_SHARE = 0.15  # the fit of its head
DECODING_SHARE = 0.3  # decoding
DUPLICATES_SHARE = 0.06  # the duplicate search
INT8_SHARE = 0.1  # an INT8 network and its evaluation
# Shares of the time that is left, at most:
ROTATION_SHARE = 0.3  # a head on rotated images
LATE_SHARE = 0.7  # more networks, where the time is too short for a fine-tuning
FINETUNE_SHARE = 0.92  # fine-tuning; the rest is a margin

MAX_HEAD_ROWS = 20_000  # three networks' features of so many take 1 GB, and a fit takes a few times that
DIRECTIONS = (96, 48)  # whose covariance is pooled: as many as there is time and memory for
MAX_COVARIANCE_CELLS = 40_000_000  # of one network's features: 160 MB, and a fit takes a few times that
MIN_COVARIANCE_ROWS = 20
DIRECTION_ROWS = 128  # images that the directions come from: at 49 places each there are enough
MAX_CELLS = 250_000_000  # of all features that a head is fitted on: 1 GB
JOINT_SHARE = 0.15  # of the time that is left, for a head on covariances of several networks or rotations
OPERATIONS_PER_CELL = 1400  # of the features, for each class, in a cross-validated fit
MIN_CLASSES = 48  # fewer take as long: reading the features is then what takes time
ROTATION_VIEWS = (4, 2)  # of an image rotated by quarter turns: all four, or the plain one and one more
FLOPS = 8e10  # of an ordinary machine on these products
MAX_GROUP_SHARE = 0.05  # of the rows in one group of duplicates; a larger one would unbalance the folds
EXPORT_RESERVE_S = 6.0  # reserved for the last export
MIN_UNSEEN, MIN_UNSEEN_PER_LABEL = 150, 10  # images that the base has not seen, to score its networks
MIN_EPOCHS, MAX_EPOCHS = 2, 12
FEW_ROWS = 600  # with fewer rows a trial holds out two folds, not one
MANY_ROWS = 3000  # from so many on the held-out rows are not missed in training
MIN_RESOLUTION = 96
MIN_UPSCALED = 160  # pixels: the smallest size that images are upscaled to
MIN_UPSCALE_RATIO = 1.25  # times the size without upscaling; less is not worth the time
MIN_PARTIAL_ROWS = 4000  # enough to train last blocks on, where there is no time for all rows
EPOCHS_PER_VIEW = 0.45  # time to cache one view of all images, in epochs of the last blocks
MAX_VIEWS = 4  # of an image; more brought nothing
MIN_STEPS = 140  # of a fine-tuning of last blocks; with fewer, larger steps they learn too little


@dataclass(frozen=True, slots=True)
class FinetuneBudget:
    """The length of a fine-tuning of the whole network, or (`is_partial`) of its last blocks on cached views.

    `folds` trials of `epochs`, each without one of `parts` equal parts of the rows, then (`is_refit`) a run
    on all rows. `share` of a trial's rows are trained on where time or memory do not suffice for all;
    `most_views` limits the cache. Stored in checkpoints by these names.
    """

    folds: int
    parts: int
    epochs: int
    is_refit: bool
    is_partial: bool = False
    share: float = 1.0
    most_views: int = MAX_VIEWS

    @property
    def views(self) -> int:
        """How many views of each image are cached: the plain one, and for long runs augmented ones."""
        return min(self.most_views, max(1, self.epochs // 2)) if self.is_partial else 0

    @property
    def passes(self) -> float:
        """Epochs of a run, and the time to cache its views, in epochs."""
        return self.epochs + EPOCHS_PER_VIEW * self.views

    def is_whole(self, rows: int) -> bool:
        """Whether it is as long as without a limit. Few rows must all train the exported model."""
        return self.epochs >= full_epochs(rows) and (self.is_refit or rows >= MANY_ROWS)

    def trial_s(self, rows: int, image_s: float) -> float:
        """Seconds of the trials, at `image_s` for one training image."""
        return self.folds * (1 - 1 / self.parts) * self.passes * self.share * rows * image_s

    def refit_s(self, rows: int, image_s: float) -> float:
        """Seconds of the run on all rows."""
        return self.is_refit * self.passes * rows * image_s


def evaluation_reserve_s(eval_images: int, image_s: float = 0.05) -> float:
    """Seconds of the evaluation after the fit, and of loading the model, on an idle machine."""
    return 1 + 1.3 * eval_images * image_s


def number_format_reserve_s(eval_images: int, image_s: float) -> float:
    """Seconds of evaluating INT8 as well, which takes about half the time, and of timing both."""
    return 5 + 0.7 * eval_images * image_s


def rows_that_fit(rows: int, image_s: float, max_seconds: float) -> int:
    """How many of the rows can be decoded in their share of the time, at `image_s` seconds each."""
    return min(rows, max(100, int(DECODING_SHARE * max_seconds / max(image_s, 1e-6))))


def usable_groups(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] group numbers where each row of a group too large to be held out whole is a group of its own."""
    sizes = np.bincount(groups, minlength=len(groups))
    is_large = sizes[groups] > max(20, MAX_GROUP_SHARE * len(groups))
    return np.where(is_large, len(sizes) + np.arange(len(groups)), groups)


def max_head_rows(rows: int, columns: int, classes: int, max_seconds: float) -> int:
    """How many of the rows a head may be fitted on, by memory and time."""
    cells = FITTING_SHARE * max_seconds * FLOPS / (OPERATIONS_PER_CELL * max(classes, MIN_CLASSES))
    in_time = int(max(cells / columns, min(math.sqrt(cells), columns)))  # n rows span at most n columns
    return min(rows, MAX_HEAD_ROWS, max(in_time, 2 * classes, 200))


def direction_count(rows: int, columns: int, classes: int, max_seconds: float) -> int:
    """Directions whose covariance is pooled beside `columns` features; 0 where rows would be left out for it.

    More images are worth more than more features of each.
    """
    fitted = max_head_rows(rows, columns, classes, max_seconds)
    for directions in DIRECTIONS if rows >= MIN_COVARIANCE_ROWS else ():
        pairs = directions * (directions + 1) // 2
        is_small = fitted * pairs <= MAX_COVARIANCE_CELLS
        if is_small and max_head_rows(rows, columns + pairs, classes, max_seconds) == fitted:
            return directions
    return 0


def head_fit_s(rows: int, columns: int, classes: int) -> float:
    """Seconds for the cross-validated fit of a head on an ordinary machine."""
    return OPERATIONS_PER_CELL * rows * min(rows, columns) * max(classes, MIN_CLASSES) / FLOPS


def cache_side(long_sides: list[int], largest: int) -> int:
    """Pixels of the cached squares, along each side: the largest network's, less where images are small."""
    if not long_sides:
        return largest
    typical = sorted(long_sides)[int(0.9 * (len(long_sides) - 1))]
    return max(32, min(largest, math.ceil(typical / 16) * 16))


def finetune_resolutions(native: int, side: int, multiple: int = 32) -> tuple[int, ...]:
    """The sizes to fine-tune at, the largest first: the network's own, smaller ones for small images.

    Smaller ones are multiples of `multiple`.

    A network adapts to another size while it is trained, and half the size is four times as fast. Upscaled
    small images are classified better, if there is time for all epochs.
    """
    if side >= native:
        return (native,)
    least, least_large = (multiple * math.ceil(size / multiple) for size in (MIN_RESOLUTION, MIN_UPSCALED))
    small = min(native, max(least, multiple * round(1.15 * side / multiple)))
    large = min(native, max(least_large, multiple * round(1.75 * side / multiple)))
    return (large, small) if large >= MIN_UPSCALE_RATIO * small else (small,)


def fold_count(rows: int) -> int:
    """Folds of the cross-validation of heads."""
    return 5 if rows < 1000 else 3


def trial_parts(rows: int) -> int:
    """Equal parts of the rows, of which a trial of a fine-tuning holds out the first, or the first two."""
    return 5 if rows < MANY_ROWS else 10


def full_epochs(rows: int) -> int:
    """Epochs without a time limit: small sets need more, as in BiT's rule (Kolesnikov et al. 2020)."""
    return min(MAX_EPOCHS, max(4, round(300 / math.sqrt(rows))))


def partial_batch(rows: int) -> int:
    """Images in a step of the last blocks: the more the faster, as long as MIN_STEPS remain."""
    images = full_epochs(rows) * 0.8 * rows
    return next((size for size in (64, 32) if images >= MIN_STEPS * size), 16)


def finetune_budget(
    rows: int, image_s: float, left_s: float, cached: int | None = None
) -> FinetuneBudget | None:
    """The longest fine-tuning that fits, or None where not even a short one does.

    `image_s`: seconds of one training image. `cached`: how many views of images fit in memory, for a
    fine-tuning of the last blocks, which learn from a single epoch or from a share of very many rows.
    """
    allowed = FINETUNE_SHARE * (left_s - EXPORT_RESERVE_S)
    parts = trial_parts(rows)
    full, minimum = full_epochs(rows), MIN_EPOCHS if cached is None else 1
    blank = FinetuneBudget(1, parts, minimum, False)
    if cached is not None:
        share, most_views = cached_share(cached, rows), max(1, min(MAX_VIEWS, cached // rows))
        blank = replace(blank, is_partial=True, share=share, most_views=most_views)
    options = [replace(blank, epochs=epochs) for epochs in range(full, minimum - 1, -1)]
    if blank.share == 1:
        options = _budgets_with_refit(rows, full, minimum, blank) + options
    for budget in options:
        if budget.trial_s(rows, image_s) + budget.refit_s(rows, image_s) <= allowed:
            return budget
    share = round(blank.share * allowed / blank.trial_s(rows, image_s), 3)
    return replace(blank, share=share) if blank.is_partial and share * rows >= MIN_PARTIAL_ROWS else None


def cached_share(cached: int, rows: int) -> float:
    """The share of the rows whose cached maps fit in memory, where `cached` images do."""
    return min(1.0, round(cached / rows, 3))


def _budgets_with_refit(rows: int, full: int, minimum: int, blank: FinetuneBudget) -> list[FinetuneBudget]:
    """Budgets that end with a run on all rows, the best first: for few rows it is worth half the epochs."""
    folds = (2, 1) if rows < FEW_ROWS else (1,)
    half = max(minimum, math.ceil(full / 2)) if rows < MANY_ROWS else full
    options = [replace(blank, folds=count, epochs=full, is_refit=True) for count in folds]
    return options + [replace(blank, epochs=e, is_refit=True) for e in range(full - 1, half - 1, -1)]

"""How the time is spread: pure functions from facts and limits to numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

HEADS_SHARE = 0.35  # of the limit may go to frozen features and their heads
ROTATION_SHARE = 0.3  # of what is left may go to a head on turned pictures
LATE_SHARE = 0.7  # of what is left may go to more networks where it is too short for a fine-tuning
FIRST_FEATURES_SHARE = 0.25  # of the limit may go to the features of the first network
FITTING_SHARE = 0.15  # of the limit may go to the fit of its head
MAX_HEAD_ROWS = 20_000  # three networks' features of so many take 1 GB, and a fit some copies of that
OPERATIONS_PER_CELL = 1400  # operations on each cell of the features for each class, in a cross-validated fit
MIN_CLASSES = 48  # fewer take as long: reading the features is then the work
ROTATION_VIEWS = (4, 2)  # of a picture that may be turned by quarters: with all of them, or with one
FLOPS = 8e10  # of an ordinary machine on such products
DECODING_SHARE = 0.3  # of the limit may go to decoding
DUPLICATES_SHARE = 0.06  # of the limit may go to the search for copies
MAX_GROUP_SHARE = 0.05  # of the rows may hang together; a larger group would break the folds
FINETUNE_SHARE = 0.92  # of what is left is planned for fine-tuning; the rest is for surprises
EXPORT_RESERVE_S = 6.0  # kept back for the last export
MIN_UNSEEN, MIN_UNSEEN_PER_LABEL = 150, 10  # images that a base has not seen, to judge its networks by
MIN_EPOCHS, MAX_EPOCHS = 2, 12
FEW_ROWS = 600  # so few that two folds must judge
MANY_ROWS = 3000  # so many that those held out are not missed
MIN_RESOLUTION = 96
MIN_UPSCALED = 160  # the least size of pictures that are enlarged
MIN_UPSCALE_RATIO = 1.25  # times the size that they are tuned at else
MIN_PARTIAL_ROWS = 4000  # rows that teach last blocks enough, where there are more and no time for all
EPOCHS_PER_VIEW = 0.45  # of an epoch of the last blocks, to make one view of all pictures for them
MAX_VIEWS = 4  # of a picture; more taught nothing
MIN_STEPS = 140  # of a fine-tuning of last blocks; fewer and larger ones do not get far


@dataclass(frozen=True, slots=True)
class FinetuneBudget:
    """`folds` trial runs of `epochs`, each without one of `parts` equal parts of the rows, then (`is_refit`)
    one on all rows; of the whole network, or of its last blocks on views of the pictures that are kept.
    `share`: of a trial's rows that train, where time or memory do not suffice for all; `most_views`: for
    the memory as well."""

    folds: int
    parts: int
    epochs: int
    is_refit: bool
    is_partial: bool = False
    share: float = 1.0
    most_views: int = MAX_VIEWS

    @property
    def views(self) -> int:
        """How many views of each picture are kept: the plain one, and for long runs augmented ones."""
        return min(self.most_views, max(1, self.epochs // 2)) if self.is_partial else 0

    @property
    def passes(self) -> float:
        """Epochs of a run, and what it takes to make the views in epochs."""
        return self.epochs + EPOCHS_PER_VIEW * self.views

    def is_whole(self, rows: int) -> bool:
        """Is it as good as it would be without a limit? Few rows must all train the model that ships."""
        return self.epochs >= wanted_epochs(rows) and (self.is_refit or rows >= MANY_ROWS)

    def trial_s(self, rows: int, image_s: float) -> float:
        """Seconds of the trials, at `image_s` for one picture of training."""
        return self.folds * (1 - 1 / self.parts) * self.passes * self.share * rows * image_s

    def refit_s(self, rows: int, image_s: float) -> float:
        """Seconds of the run on all rows."""
        return self.is_refit * self.passes * rows * image_s


def evaluation_reserve_s(eval_images: int, image_s: float = 0.05) -> float:
    """Seconds kept back for the evaluation after the fit, and for loading the model."""
    return 3 + 1.3 * eval_images * image_s


def rows_that_fit(rows: int, image_s: float, max_seconds: float) -> int:
    """How many of the rows can be read in the time meant for reading, at `image_s` each."""
    return min(rows, max(100, int(DECODING_SHARE * max_seconds / max(image_s, 1e-6))))


def usable_groups(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] group numbers without groups that are too large to be held out whole: their rows stand alone."""
    sizes = np.bincount(groups, minlength=len(groups))
    is_large = sizes[groups] > max(20, MAX_GROUP_SHARE * len(groups))
    return np.where(is_large, len(sizes) + np.arange(len(groups)), groups)


def max_head_rows(rows: int, columns: int, classes: int, max_seconds: float) -> int:
    """How many of the rows a head may be fitted on, for its memory and its time."""
    cells = FITTING_SHARE * max_seconds * FLOPS / (OPERATIONS_PER_CELL * max(classes, MIN_CLASSES))
    in_time = int(max(cells / columns, min(math.sqrt(cells), columns)))  # n rows span at most n columns
    return min(rows, MAX_HEAD_ROWS, max(in_time, 2 * classes, 200))


def head_fit_s(rows: int, columns: int, classes: int) -> float:
    """Seconds that a head's fit on so many rows takes on an ordinary machine."""
    return OPERATIONS_PER_CELL * rows * min(rows, columns) * max(classes, MIN_CLASSES) / FLOPS


def cache_side(long_sides: list[int], largest: int) -> int:
    """Side of the cached squares: that of the largest network, less where all pictures are tiny."""
    if not long_sides:
        return largest
    typical = sorted(long_sides)[int(0.9 * (len(long_sides) - 1))]
    return max(32, min(largest, math.ceil(typical / 16) * 16))


def finetune_resolutions(native: int, side: int) -> tuple[int, ...]:
    """The sizes to fine-tune at, the largest first: the network's own, less for small pictures.

    A network that is trained further gets used to another size, and half the size is four times as fast.
    Enlarged beyond what they hold small pictures are told apart better, if there is time for all epochs.
    """
    if side >= native:
        return (native,)
    small = min(native, max(MIN_RESOLUTION, 32 * round(1.15 * side / 32)))
    large = min(native, max(MIN_UPSCALED, 32 * round(1.75 * side / 32)))
    return (large, small) if large >= MIN_UPSCALE_RATIO * small else (small,)


def fold_count(rows: int) -> int:
    """Folds of the cross-validation of heads."""
    return 5 if rows < 1000 else 3


def wanted_epochs(rows: int) -> int:
    """Small sets need more passes. In the spirit of BiT's rule (Kolesnikov et al. 2020)."""
    return min(MAX_EPOCHS, max(4, round(300 / math.sqrt(rows))))


def partial_batch(rows: int) -> int:
    """Pictures in a step of the last blocks: the more the quicker, where there are steps enough to learn."""
    pictures = wanted_epochs(rows) * 0.8 * rows
    return next((size for size in (64, 32) if pictures >= MIN_STEPS * size), 16)


def finetune_budget(
    rows: int, image_s: float, left_s: float, kept: int | None = None
) -> FinetuneBudget | None:
    """The longest fine-tuning that fits, or None where not even a short one does.

    `image_s`: seconds of one training image. `kept`: how many views of pictures the memory has room for, in a
    fine-tuning of the last blocks only, which learn from one epoch already or a share of very many rows.
    """
    allowed = FINETUNE_SHARE * (left_s - EXPORT_RESERVE_S)
    parts = 5 if rows < MANY_ROWS else 10
    wanted, least = wanted_epochs(rows), MIN_EPOCHS if kept is None else 1
    blank = FinetuneBudget(1, parts, least, False)
    if kept is not None:
        share, most_views = min(1.0, round(kept / rows, 3)), max(1, min(MAX_VIEWS, kept // rows))
        blank = replace(blank, is_partial=True, share=share, most_views=most_views)
    options = [replace(blank, epochs=epochs) for epochs in range(wanted, least - 1, -1)]
    if blank.share == 1:
        options = _budgets_with_refit(rows, wanted, least, blank) + options
    for budget in options:
        if budget.trial_s(rows, image_s) + budget.refit_s(rows, image_s) <= allowed:
            return budget
    share = round(blank.share * allowed / blank.trial_s(rows, image_s), 3)
    return replace(blank, share=share) if blank.is_partial and share * rows >= MIN_PARTIAL_ROWS else None


def _budgets_with_refit(rows: int, wanted: int, least: int, blank: FinetuneBudget) -> list[FinetuneBudget]:
    """Budgets whose last run trains on all rows, the best first: few rows are worth half the epochs."""
    folds = (2, 1) if rows < FEW_ROWS else (1,)
    half = max(least, math.ceil(wanted / 2)) if rows < MANY_ROWS else wanted
    options = [replace(blank, folds=count, epochs=wanted, is_refit=True) for count in folds]
    return options + [replace(blank, epochs=e, is_refit=True) for e in range(wanted - 1, half - 1, -1)]

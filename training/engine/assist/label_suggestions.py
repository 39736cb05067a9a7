"""Suggest labels for unlabeled images with a classifier that is fitted on the labeled ones in a second.

One label per image: linear discriminant analysis with a shared, shrunken covariance. It needs no iteration,
works with two images per label, and has a closed form for leaving each image out of its own fit
(Sherman–Morrison). These leave-one-out scores choose the temperature and the weight of the label frequencies,
so that the probabilities are calibrated. Multi-label: ridge regression for each label, leave-one-out by its
hat matrix, and one logistic curve for all.

With few images per label the unlabeled images help as well: each takes part of its probabilities from the
unlabeled images that are most like it (`share_with_neighbours`).

Features [N, F] are rows of length 1.

Measured (benchmarks/mechanisms.py label_suggestions): out-of-fold probabilities of 600 images with 30 labels
take a fortieth of the time of scikit-learn's discriminant analysis with five folds.
benchmarks/suggestions.py --data measures what neighbours bring, and how often probable suggestions are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

MIN_PER_LABEL = 2  # images of a label that say something about it
SHRINKAGE = 0.5  # of the covariance towards a sphere; best or nearly so from 2 to 50 images per label
MAX_FITTED_ROWS = 10_000  # rows of a fit; more change the result little
SCALES = np.geomspace(0.0005, 8.0, 40)
PRIORS = (0.0, 0.5, 1.0)  # weights of the label frequencies
RIDGE = 0.5  # times the mean of the eigenvalues
DIVERSE_ROWS = 400  # images that are ordered one by one
DIVERSE_POOL = 4_000  # rows with the highest scores, among which they are chosen
TRUSTED_PER_LABEL = 5  # images per label, from which on uncertainty counts instead of typicality
NEIGHBOURS, NEIGHBOUR_SAMPLE = 10, 1_000  # of an image, and the rows that they are searched in
FEW_PER_LABEL = 10  # images per label, below which unlabeled neighbours help
NEIGHBOUR_SHARE = 0.3  # of an image's probabilities that come from its neighbours
MIN_UNLABELED = 200  # images, below which the nearest ones are often of another label
MIN_REMAINDER = 2e-4  # of a direction without one row; smaller values are rounding errors


@dataclass(frozen=True, slots=True)
class FittedClassifier:
    """A linear classifier: scores [N, C] are `features @ weight + bias`, logits are `scale * scores +
    offset`.

    `known` [C]: labels with too few images have the probability 0. It was fitted on `rows` images, and no
    probability is more certain than so many allow, as if one more had been drawn at random.
    """

    weight: Floats
    bias: Floats
    scale: float
    offset: Floats
    known: NDArray[np.bool_]
    is_multi_label: bool
    rows: int

    def probabilities(self, features: Floats) -> Floats:
        """[N, C] probabilities of features [N, F]; rows sum to 1 unless multi-label."""
        return self.from_scores(features @ self.weight + self.bias)

    def from_scores(self, scores: Floats) -> Floats:
        logits = self.scale * scores + self.offset
        probabilities = _sigmoid(logits, self.known) if self.is_multi_label else _softmax(logits, self.known)
        chance = self.known / (2.0 if self.is_multi_label else self.known.sum())
        return np.asarray((self.rows * probabilities + chance) / (self.rows + 1), np.float32)


def fit(features: Floats, targets: Floats, is_multi_label: bool, seed: int = 0) -> FittedClassifier | None:
    """Fit labeled rows, with `targets` [N, C] of 0 and 1; None where fewer than two labels have enough
    images."""
    fitted = _fit(features, targets, is_multi_label, seed)
    return fitted[0] if fitted else None


def out_of_fold_probabilities(
    features: Floats, targets: Floats, is_multi_label: bool = False
) -> Floats | None:
    """[N, C] probabilities of labeled rows, each from a fit without it; None where `fit` gives None."""
    fitted = _fit(features, targets, is_multi_label, 0, max_rows=len(features))
    if fitted is None:
        return None
    classifier, scores = fitted
    return classifier.from_scores(scores)


def _fit(
    features: Floats, targets: Floats, is_multi_label: bool, seed: int, max_rows: int = MAX_FITTED_ROWS
) -> tuple[FittedClassifier, Floats] | None:
    """The classifier, and the leave-one-out scores [N, C] of the rows, as if no label had lost an image."""
    known = targets.sum(0) >= MIN_PER_LABEL
    if known.sum() < (1 if is_multi_label else 2):
        return None
    rows = np.arange(len(features))
    if len(rows) > max_rows:
        rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:max_rows])
        known &= targets[rows].sum(0) >= MIN_PER_LABEL
    rows = rows if is_multi_label else rows[targets[rows][:, known].any(1)]
    x, y = features[rows].astype(np.float32), targets[rows].astype(np.float32)
    if is_multi_label:
        weight, bias, scores = _ridge(x, y)
        scale, offset = _logistic(scores[:, known], y[:, known])
        offsets = np.full(y.shape[1], offset, np.float32)
    else:
        weight, bias, scores, distances = _discriminant(x, y, known)
        scores += y * _handicap(y, distances)
        scale, offsets = _calibrate(scores, y, known)
    left_out = np.zeros(targets.shape, np.float32)
    left_out[rows] = scores
    return FittedClassifier(weight, bias, scale, offsets, known, is_multi_label, len(rows)), left_out


# --- one label per image ---


def _discriminant(x: Floats, y: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats, Floats]:
    """Weight [F, C], bias [C], leave-one-out scores [N, C] and distances [N] of a discriminant analysis."""
    counts = np.maximum(y.sum(0), 1)
    means = (y.T @ x) / counts[:, None]
    labels = y.argmax(1)
    rest = x - means[labels]
    freedom = max(len(x) - int(known.sum()), 1)
    scatter = rest.T @ rest / freedom
    sphere = max(float(np.trace(scatter)) / len(scatter), 1e-8)
    shrunken = (1 - SHRINKAGE) * scatter + SHRINKAGE * sphere * np.eye(len(scatter), dtype=np.float32)
    inverse = np.linalg.inv(shrunken).astype(np.float32)
    weight = (inverse @ means.T).astype(np.float32)
    bias = (-0.5 * np.einsum("cf,fc->c", means, weight)).astype(np.float32)
    left_out = _leave_one_out_scores(x, means, inverse, labels, counts[labels], rest, freedom)
    return weight, bias, *left_out


def _leave_one_out_scores(
    x: Floats, means: Floats, inverse: Floats, labels: Indices, count: Floats, rest: Floats, freedom: int
) -> tuple[Floats, Floats]:
    """[N, C] the scores of each row, when neither its label's mean nor the covariance has seen it, and [N]
    its squared distance from its label's mean then.

    Without row i the scatter loses n/(n-1) (x-m)(x-m)ᵀ and the mean m becomes m - (x-m)/(n-1); the sphere
    of the shrinkage stays. With u = x-m and v = S⁻¹u the inverse becomes S⁻¹ + g vvᵀ.
    """
    others = np.maximum(count - 1, 1)
    x_inverse, means_inverse = x @ inverse, means @ inverse
    v = rest @ inverse
    uv = np.einsum("nf,nf->n", rest, v)
    share = (1 - SHRINKAGE) * count / others / freedom
    gain = share / np.maximum(1 - share * uv, MIN_REMAINDER)
    v_means = v @ means.T
    scores = x_inverse @ means.T + (gain * np.einsum("nf,nf->n", x, v))[:, None] * v_means
    scores -= 0.5 * (np.einsum("cf,cf->c", means, means_inverse) + gain[:, None] * v_means**2)
    own = means[labels] - rest / others[:, None]
    own_v = np.einsum("nf,nf->n", own, v)
    own_score = np.einsum("nf,nf->n", x_inverse, own) + gain * np.einsum("nf,nf->n", x, v) * own_v
    own_score -= 0.5 * (np.einsum("nf,nf->n", own @ inverse, own) + gain * own_v**2)
    scores[np.arange(len(x)), labels] = own_score
    distances = (count / others) ** 2 * (uv + gain * uv**2)
    return np.asarray(scores, np.float32), np.asarray(distances, np.float32)


def _handicap(y: Floats, distances: Floats) -> Floats:
    """[C] by how much leaving an image out lowers the score of its own label, beyond what the image taught.

    The mean of k images lies t / k further from the origin than the true one, and a score falls by half of
    that. Left out, an image meets the mean of n - 1 images, a new image that of n: t / (2 n (n - 1)) less.
    The `distances` from the mean of n - 1 are t n / (n - 1) on average. Without this two images per label
    look as if nothing could be told.
    """
    return np.asarray(distances.mean() / 2 / np.maximum(y.sum(0), 1) ** 2, np.float32)


def _calibrate(scores: Floats, y: Floats, known: NDArray[np.bool_]) -> tuple[float, Floats]:
    """The scale and the offsets [C] with the lowest log loss on leave-one-out scores."""
    labels = y.argmax(1)
    frequency = np.log(np.maximum(y.sum(0), 1) / len(y)).astype(np.float32)
    frequency -= frequency[known].mean()

    def loss(scale: float, prior: float) -> float:
        probabilities = _softmax(scale * scores + prior * frequency, known)[np.arange(len(y)), labels]
        return float(-np.log(np.maximum(probabilities, 1e-6)).mean())

    scale, prior = min(((scale, prior) for scale in SCALES for prior in PRIORS), key=lambda pair: loss(*pair))
    return float(scale), np.asarray(prior * frequency, np.float32)


def _softmax(logits: Floats, known: NDArray[np.bool_]) -> Floats:
    masked = np.where(known, logits, -np.inf)
    raised = np.exp(masked - masked.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


# --- multi-label ---


def _ridge(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Weight, bias and leave-one-out scores of a regression on the targets, whose mean is not penalized."""
    centre, mean_y = x.mean(0), y.mean(0)
    z, centred_y = x - centre, y - mean_y
    gram = z.T @ z
    strength = RIDGE * max(float(np.trace(gram)) / min(gram.shape[0], len(x)), 1e-6)
    inverse = np.linalg.inv(gram + strength * np.eye(len(gram), dtype=np.float32)).astype(np.float32)
    weight = inverse @ (z.T @ centred_y)
    influence = np.einsum("nf,nf->n", z @ inverse, z) + 1 / len(x)
    error = (centred_y - z @ weight) / np.maximum(1 - influence, 0.05)[:, None]
    return (
        weight.astype(np.float32),
        (mean_y - centre @ weight).astype(np.float32),
        (y - error).astype(np.float32),
    )


def _logistic(scores: Floats, y: Floats) -> tuple[float, float]:
    """Slope and offset of one logistic curve for all labels, by Newton's method (Platt 1999)."""
    s, t = scores.ravel().astype(np.float64), y.ravel().astype(np.float64)
    slope, offset = 4.0, -2.0
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(slope * s + offset, -30, 30)))
        w = np.maximum(p * (1 - p), 1e-6)
        gradient = np.array([((p - t) * s).sum() + 1e-2 * (slope - 4), (p - t).sum()])
        hessian = np.array([[(w * s * s).sum() + 1e-2, (w * s).sum()], [(w * s).sum(), w.sum() + 1e-6]])
        step = np.linalg.solve(hessian, gradient)
        slope, offset = float(np.clip(slope - step[0], 0.5, 40)), float(np.clip(offset - step[1], -30, 30))
        if np.abs(step).max() < 1e-4:
            break
    return slope, offset


def _sigmoid(logits: Floats, known: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.where(known, 1 / (1 + np.exp(-np.clip(logits, -30, 30))), 0), np.float32)


# --- unlabeled neighbours ---


def share_with_neighbours(features: Floats, probabilities: Floats) -> Floats:
    """[N, C] probabilities of unlabeled rows [N, F], drawn towards those of the rows that are most like each.

    Neighbours mostly carry the same label, and their mistakes differ. No label is assumed to be as frequent
    as another. Fewer than MIN_UNLABELED rows stay as they are.
    """
    if len(features) < MIN_UNLABELED:
        return probabilities
    centred = features - features.mean(0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    picked = _sample(len(features))
    shared = np.empty_like(probabilities)
    for start in range(0, len(features), 4096):
        rows = np.arange(start, min(start + 4096, len(features)))
        likeness = centred[rows] @ centred[picked].T
        likeness[rows[:, None] == picked] = -1  # no row is its own neighbour
        near = np.argpartition(likeness, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
        weight = np.maximum(np.take_along_axis(likeness, near, 1), 1e-3) ** 3
        weight /= weight.sum(1, keepdims=True)
        shared[rows] = np.einsum("nk,nkc->nc", weight, probabilities[picked[near]])
    return np.asarray((1 - NEIGHBOUR_SHARE) * probabilities + NEIGHBOUR_SHARE * shared, np.float32)


def _sample(count: int) -> Indices:
    """The rows among which neighbours are searched."""
    return np.sort(np.random.default_rng(0).permutation(count)[:NEIGHBOUR_SAMPLE])


# --- what to label next ---


def acquisition_scores(features: Floats, probabilities: Floats | None, labels_each: float) -> Floats:
    """[N] how much labels of the unlabeled rows would improve the classifier; higher is better.

    The first DIVERSE_ROWS rows get 2 down to 1, in their order, the others 1 down to 0. With few labels
    typical images come first, spread over all kinds (TypiClust, 2202.02794); with many `labels_each`, images
    per label, those with the least certain predictions, spread as well (BADGE, 1906.03671).
    """
    if not len(features):
        return np.zeros(0, np.float32)
    scores = _score_rows(features, probabilities, labels_each)
    chosen = _diverse_rows(features, scores)
    scores[chosen] = 2 - np.arange(len(chosen), dtype=np.float32) / DIVERSE_ROWS
    return scores


def _score_rows(features: Floats, probabilities: Floats | None, labels_each: float) -> Floats:
    """[N] from 0 to 1, the score of each row without regard to the others."""
    typical = _rank_scores(_density(features))
    if probabilities is None or labels_each < MIN_PER_LABEL:
        return typical
    top = np.sort(probabilities, axis=1)[:, -2:]
    margin = top[:, 1] - top[:, 0] if probabilities.shape[1] > 1 else abs(2 * top[:, 0] - 1)
    uncertainty = 1 - margin
    trust = min(1.0, labels_each / TRUSTED_PER_LABEL)
    return np.asarray((1 - trust) * typical + trust * (0.85 * uncertainty + 0.15 * typical), np.float32)


def _density(features: Floats) -> Floats:
    """[N] mean cosine to the nearest rows of a fixed sample."""
    picked = _sample(len(features))
    nearest = min(NEIGHBOURS, len(picked))
    density = np.empty(len(features), np.float32)
    for start in range(0, len(features), 4096):
        part = features[start : start + 4096] @ features[picked].T
        density[start : start + 4096] = np.partition(part, -nearest, axis=1)[:, -nearest:].mean(1)
    return density


def _rank_scores(values: Floats) -> Floats:
    ranks = np.empty(len(values), np.float32)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values), dtype=np.float32)
    return np.asarray(ranks / max(len(values) - 1, 1), np.float32)


def _diverse_rows(features: Floats, scores: Floats) -> Indices:
    """The first rows to label: each maximizes its score times its distance to the rows before it."""
    pool = np.argsort(-scores, kind="stable")[:DIVERSE_POOL]
    near, value = features[pool], scores[pool] + 0.05
    distance = np.ones(len(pool), np.float32)
    chosen: list[int] = []
    for _ in range(min(DIVERSE_ROWS, len(pool))):
        best = int(np.argmax(value * distance))
        chosen.append(best)
        distance = np.minimum(distance, np.sqrt(np.maximum(1 - near @ near[best], 0)))
        distance[best] = -1
    return np.asarray(pool[chosen], np.int64)

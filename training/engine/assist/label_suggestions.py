"""Labels for pictures that have none, learned in a second from those that have some.

Where a picture has one label: linear discriminant analysis with a shared, shrunken covariance, which needs no
iteration, works from two pictures a label on and can leave each picture out of its own fit in closed form
(Sherman–Morrison). These left-out scores choose the temperature and the weight of the labels' frequencies, so
that a probability means what it says. Where a picture has several: ridge regression for each label, left out
by its hat matrix, and one logistic curve for all.

Features [N, F] are rows of length 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

MIN_PER_LABEL = 2  # pictures of a label that say something about it
SHRINKAGE = 0.5  # of the covariance towards a sphere; best or near it from 2 to 50 pictures a label
MAX_FITTED_ROWS = 10_000  # rows of a fit; more change nothing that is seen
SCALES = np.geomspace(0.0005, 8.0, 40)
PRIORS = (0.0, 0.5, 1.0)  # how much the frequencies of the labels count
RIDGE = 0.5  # times the mean of the eigenvalues
DIVERSE_ROWS = 400  # pictures that are put in an order of usefulness one by one
DIVERSE_POOL = 4_000  # of the most useful by themselves, among which they are chosen
TRUSTED_PER_LABEL = 5  # pictures a label, from which on being unsure counts, and not only being typical
NEIGHBOURS, DENSITY_SAMPLE = 10, 1_000  # of a picture that tell how typical it is
MIN_REMAINDER = 2e-4  # of what is left of a direction without one row; below it is rounding


@dataclass(frozen=True, slots=True)
class FittedClassifier:
    """Scores are `features @ weight + bias` [N, C]; `scale` and `offset` make them logits of probabilities.

    `known` [C]: labels with too few pictures get the probability 0. `rows` were learned from: no probability
    is surer than so many pictures allow, as if one more had been drawn blindly.
    """

    weight: Floats
    bias: Floats
    scale: float
    offset: Floats
    known: NDArray[np.bool_]
    is_multi_label: bool
    rows: int

    def probabilities(self, features: Floats) -> Floats:
        """[N, C]; the rows sum to 1 where a picture has one label."""
        return self.from_scores(features @ self.weight + self.bias)

    def from_scores(self, scores: Floats) -> Floats:
        logits = self.scale * scores + self.offset
        likely = _sigmoid(logits, self.known) if self.is_multi_label else _softmax(logits, self.known)
        blind = self.known / (2.0 if self.is_multi_label else self.known.sum())
        return np.asarray((self.rows * likely + blind) / (self.rows + 1), np.float32)


def fit(features: Floats, targets: Floats, is_multi_label: bool, seed: int = 0) -> FittedClassifier | None:
    """Learn from labeled rows; `targets` [N, C] of 0 and 1. None where not even two labels have enough."""
    found = _fit(features, targets, is_multi_label, seed)
    return found[0] if found else None


def out_of_fold_probabilities(
    features: Floats, targets: Floats, is_multi_label: bool = False
) -> Floats | None:
    """[N, C] probabilities of labeled rows, each from a fit that has not seen it."""
    found = _fit(features, targets, is_multi_label, 0, most=len(features))
    return found[0].from_scores(found[1]) if found else None


def _fit(
    features: Floats, targets: Floats, is_multi_label: bool, seed: int, most: int = MAX_FITTED_ROWS
) -> tuple[FittedClassifier, Floats] | None:
    """The fit, and the scores [N, C] of its rows when they are left out."""
    known = targets.sum(0) >= MIN_PER_LABEL
    if known.sum() < (1 if is_multi_label else 2):
        return None
    rows = np.arange(len(features))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
        known &= targets[rows].sum(0) >= MIN_PER_LABEL
    rows = rows if is_multi_label else rows[targets[rows][:, known].any(1)]
    x, y = features[rows].astype(np.float32), targets[rows].astype(np.float32)
    if is_multi_label:
        weight, bias, scores = _ridge(x, y)
        scale, offset = _logistic(scores[:, known], y[:, known])
        offsets = np.full(y.shape[1], offset, np.float32)
    else:
        weight, bias, scores = _discriminant(x, y, known)
        scale, offsets = _calibrate(scores, y, known)
    left_out = np.zeros(targets.shape, np.float32)
    left_out[rows] = scores
    return FittedClassifier(weight, bias, scale, offsets, known, is_multi_label, len(rows)), left_out


# --- one label a picture ---


def _discriminant(x: Floats, y: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Weight [F, C], bias [C] and left-out scores [N, C] of a linear discriminant analysis."""
    counts = np.maximum(y.sum(0), 1)
    means = (y.T @ x) / counts[:, None]
    mine = y.argmax(1)
    rest = x - means[mine]
    freedom = max(len(x) - int(known.sum()), 1)
    scatter = rest.T @ rest / freedom
    sphere = max(float(np.trace(scatter)) / len(scatter), 1e-8)
    shrunken = (1 - SHRINKAGE) * scatter + SHRINKAGE * sphere * np.eye(len(scatter), dtype=np.float32)
    inverse = np.linalg.inv(shrunken).astype(np.float32)
    weight = (inverse @ means.T).astype(np.float32)
    bias = (-0.5 * np.einsum("cf,fc->c", means, weight)).astype(np.float32)
    return weight, bias, _leave_one_out_scores(x, means, inverse, mine, counts[mine], rest, freedom)


def _leave_one_out_scores(
    x: Floats, means: Floats, inverse: Floats, mine: Indices, count: Floats, rest: Floats, freedom: int
) -> Floats:
    """Each row's scores when neither its label's mean nor the covariance has seen it.

    Without row i the scatter loses n/(n-1) (x-m)(x-m)ᵀ and the mean m becomes m - (x-m)/(n-1); the sphere
    of the shrinkage stays. With u = x-m and v = S⁻¹u the inverse becomes S⁻¹ + g vvᵀ.
    """
    others = np.maximum(count - 1, 1)
    turned, turned_means = x @ inverse, means @ inverse
    v = rest @ inverse
    uv = np.einsum("nf,nf->n", rest, v)
    share = (1 - SHRINKAGE) * count / others / freedom
    gain = share / np.maximum(1 - share * uv, MIN_REMAINDER)
    v_means = v @ means.T
    scores = turned @ means.T + (gain * np.einsum("nf,nf->n", x, v))[:, None] * v_means
    scores -= 0.5 * (np.einsum("cf,cf->c", means, turned_means) + gain[:, None] * v_means**2)
    own = means[mine] - rest / others[:, None]
    own_v = np.einsum("nf,nf->n", own, v)
    own_score = np.einsum("nf,nf->n", turned, own) + gain * np.einsum("nf,nf->n", x, v) * own_v
    own_score -= 0.5 * (np.einsum("nf,nf->n", own @ inverse, own) + gain * own_v**2)
    scores[np.arange(len(x)), mine] = own_score
    return np.asarray(scores, np.float32)


def _calibrate(scores: Floats, y: Floats, known: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Scale and offsets [C] with the least log loss on left-out rows."""
    mine = y.argmax(1)
    frequency = np.log(np.maximum(y.sum(0), 1) / len(y)).astype(np.float32)
    frequency -= frequency[known].mean()

    def loss(scale: float, prior: float) -> float:
        likely = _softmax(scale * scores + prior * frequency, known)[np.arange(len(y)), mine]
        return float(-np.log(np.maximum(likely, 1e-6)).mean())

    scale, prior = min(((one, p) for one in SCALES for p in PRIORS), key=lambda pair: loss(*pair))
    return float(scale), np.asarray(prior * frequency, np.float32)


def _softmax(logits: Floats, known: NDArray[np.bool_]) -> Floats:
    masked = np.where(known, logits, -np.inf)
    raised = np.exp(masked - masked.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


# --- several labels a picture ---


def _ridge(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Weight, bias and left-out scores of a regression on the targets, whose mean stays unpunished."""
    centre, usual = x.mean(0), y.mean(0)
    z, wanted = x - centre, y - usual
    gram = z.T @ z
    strength = RIDGE * max(float(np.trace(gram)) / min(gram.shape[0], len(x)), 1e-6)
    inverse = np.linalg.inv(gram + strength * np.eye(len(gram), dtype=np.float32)).astype(np.float32)
    weight = inverse @ (z.T @ wanted)
    influence = np.einsum("nf,nf->n", z @ inverse, z) + 1 / len(x)
    error = (wanted - z @ weight) / np.maximum(1 - influence, 0.05)[:, None]
    return (
        weight.astype(np.float32),
        (usual - centre @ weight).astype(np.float32),
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


# --- what to label next ---


def acquisition_scores(features: Floats, probabilities: Floats | None, labels_each: float) -> Floats:
    """[N] how much the labels of unlabeled rows would teach: those to begin with from 2 down to 1, in their
    order, the others from 1 down to 0. Every row has one, so the order never runs dry.

    With few labels typical pictures come first, spread over all kinds (TypiClust, 2202.02794); with
    `labels_each` pictures a label those of which the model is unsure, spread as well (BADGE, 1906.03671).
    """
    if not len(features):
        return np.zeros(0, np.float32)
    worth = _score_rows(features, probabilities, labels_each)
    chosen = _diverse_rows(features, worth)
    worth[chosen] = 2 - np.arange(len(chosen), dtype=np.float32) / DIVERSE_ROWS
    return worth


def _score_rows(features: Floats, probabilities: Floats | None, labels_each: float) -> Floats:
    """[N] from 0 to 1, of each row by itself."""
    typical = _rank_scores(_density(features))
    if probabilities is None or labels_each < MIN_PER_LABEL:
        return typical
    top = np.sort(probabilities, axis=1)[:, -2:]
    margin = top[:, 1] - top[:, 0] if probabilities.shape[1] > 1 else abs(2 * top[:, 0] - 1)
    unsure = 1 - margin
    trust = min(1.0, labels_each / TRUSTED_PER_LABEL)
    return np.asarray((1 - trust) * typical + trust * (0.85 * unsure + 0.15 * typical), np.float32)


def _density(features: Floats) -> Floats:
    """[N] mean likeness to the nearest of a fixed sample."""
    picked = np.sort(np.random.default_rng(0).permutation(len(features))[:DENSITY_SAMPLE])
    nearest = min(NEIGHBOURS, len(picked))
    found = np.empty(len(features), np.float32)
    for start in range(0, len(features), 4096):
        part = features[start : start + 4096] @ features[picked].T
        found[start : start + 4096] = np.partition(part, -nearest, axis=1)[:, -nearest:].mean(1)
    return found


def _rank_scores(values: Floats) -> Floats:
    ranks = np.empty(len(values), np.float32)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values), dtype=np.float32)
    return np.asarray(ranks / max(len(values) - 1, 1), np.float32)


def _diverse_rows(features: Floats, worth: Floats) -> Indices:
    """The rows to begin with: each the best by its worth times its distance to those before it."""
    pool = np.argsort(-worth, kind="stable")[:DIVERSE_POOL]
    near, value = features[pool], worth[pool] + 0.05
    distance = np.ones(len(pool), np.float32)
    chosen: list[int] = []
    for _ in range(min(DIVERSE_ROWS, len(pool))):
        best = int(np.argmax(value * distance))
        chosen.append(best)
        distance = np.minimum(distance, np.sqrt(np.maximum(1 - near @ near[best], 0)))
        distance[best] = -1
    return np.asarray(pool[chosen], np.int64)

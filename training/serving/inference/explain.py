"""Heat maps of a version's answers: what speaks for a label in a picture, and where."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from PIL import Image as Picture

from training.models import TrainingVersion
from training.serving.inference.model_cache import THREADS, ModelUnavailable, bundle_folder, load
from training.serving.inference.predictor import PictureRefused

if TYPE_CHECKING:
    from training.engine.bundle.saliency import Explainer

SIDE = 384  # pixels of a heat map
MOST_EXPLAINERS = 2

_kept: OrderedDict[UUID, Explainer] = OrderedDict()
_alone = threading.Lock()  # an explainer is for one thread at a time, and pictures are few


def heat_map(version: TrainingVersion, picture: Path | bytes, label: str) -> bytes:
    """WebP: the square that the model saw, in grey, with a glow where it found the label.

    Raises ModelUnavailable, PictureRefused, and KeyError for a label that the model does not know.
    """
    from training.engine.bundle.saliency import painted
    from training.engine.config import EngineError
    from training.engine.data.images import UnreadableImage

    try:
        square = load(version).read(picture)
        with _alone:
            explainer = _take(version)
            if label not in explainer.labels:
                raise KeyError(label)
            evidence = explainer.evidence(square, explainer.labels.index(label), SIDE)
    except UnreadableImage as problem:
        raise PictureRefused(str(problem)) from problem
    except EngineError as problem:
        raise ModelUnavailable(str(problem)) from problem
    out = io.BytesIO()
    Picture.fromarray(painted(square, evidence)).save(out, "WEBP", quality=85)
    return out.getvalue()


def _take(version: TrainingVersion) -> Explainer:
    from training.engine.bundle.saliency import Explainer

    if version.job_id not in _kept:
        _kept[version.job_id] = Explainer.load(bundle_folder(version), THREADS)
        while len(_kept) > MOST_EXPLAINERS:
            _kept.popitem(last=False)
    _kept.move_to_end(version.job_id)
    return _kept[version.job_id]

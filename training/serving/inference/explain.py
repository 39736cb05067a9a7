"""Heat maps of a version's answers: what speaks for a label in a picture, and where."""

from __future__ import annotations

import io
import threading
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache, cached
from PIL import Image as Picture

from training.models import TrainingVersion
from training.serving.inference.model_cache import THREADS, ModelUnavailable, bundle_folder, load_model
from training.serving.inference.predictor import InvalidImage

if TYPE_CHECKING:
    from training.engine.bundle.saliency import Explainer

HEAT_MAP_SIZE = 512  # pixels of the longer side of a heat map
MAX_EXPLAINERS = 2

_explainer_lock = threading.Lock()  # an explainer is for one thread at a time, and pictures are few


def heat_map(version: TrainingVersion, picture: Path | bytes, label: str) -> bytes:
    """WebP: the whole upright picture in grey, with a glow where the model found the label.

    It has the picture's proportions; what the model does not see is dark. Raises ModelUnavailable,
    InvalidImage, and KeyError for a label that the model does not know.
    """
    from training.engine.bundle.saliency import paint_heatmap
    from training.engine.config import EngineError
    from training.engine.data.images import UnreadableImage, load_rgb

    try:
        square = load_model(version).read(picture)
        upright = load_rgb(picture, at_least=HEAT_MAP_SIZE)
        with _explainer_lock:
            explainer = _load_explainer(version)
            if label not in explainer.labels:
                raise KeyError(label)
            evidence = explainer.evidence(square, explainer.labels.index(label), HEAT_MAP_SIZE)
    except UnreadableImage as problem:
        raise InvalidImage(str(problem)) from problem
    except EngineError as problem:
        raise ModelUnavailable(str(problem)) from problem
    out = io.BytesIO()
    upright.thumbnail((HEAT_MAP_SIZE, HEAT_MAP_SIZE))
    Picture.fromarray(paint_heatmap(np.asarray(upright), evidence)).save(out, "WEBP", quality=85)
    return out.getvalue()


@cached(LRUCache(MAX_EXPLAINERS), key=attrgetter("job_id"))
def _load_explainer(version: TrainingVersion) -> Explainer:
    from training.engine.bundle.saliency import Explainer

    return Explainer.load(bundle_folder(version), THREADS)

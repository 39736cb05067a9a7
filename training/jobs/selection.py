"""The job of an evaluation on selected images: in chunks, with progress, cancelling, and resuming."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from exeml_site.lib import storage
from exeml_site.lib.job_row import Cancelled, ClaimLost, failure
from projects.datasets.publish import ManifestDamaged
from projects.models import Annotation, Image
from training.engine import Sample
from training.evaluation.selections import lifecycle
from training.evaluation.selections.trained_images import TrainedImages
from training.jobs.selection_record import KnownLabels, result_from_rows, save_predictions
from training.models import VersionEvaluation
from training.serving.inference import model_cache

logger = logging.getLogger(__name__)

Status = VersionEvaluation.Status
CHUNK_SIZE = 64
SLICE_S = 1800  # then it waits behind other jobs, long before its own would be ended
UNEXPECTED_ERROR = gettext_noop(
    "Something unexpected happened. Start again; if it happens again, operators can see the reason."
)
IMAGES_LOST = gettext_noop("The list of the selected images is missing. Start the evaluation again.")


def run(evaluation_id: int) -> None:
    """Predict the images from where the evaluation stopped. One that ended or has a worker is left alone."""
    if not VersionEvaluation.objects.silent().filter(pk=evaluation_id).claim():
        return
    evaluation = VersionEvaluation.objects.select_related(
        "training_version__project",
        "training_version__dataset_version",
        "training_version__incremental_version__dataset_version",
    ).get(pk=evaluation_id)
    try:
        if not _Run(evaluation).run():
            evaluation.release()
    except ClaimLost:
        logger.warning("evaluation %d is done by another worker", evaluation_id)
    except Cancelled:
        _end(evaluation, Status.CANCELLED)
    except FileNotFoundError:
        _end(evaluation, Status.FAILED, problem=IMAGES_LOST)
    except Exception as problem:
        expected = (model_cache.ModelUnavailable, ManifestDamaged)
        if not evaluation.outlives(problem):
            _end(evaluation, Status.FAILED, **failure(problem, UNEXPECTED_ERROR, *expected))


def _end(evaluation: VersionEvaluation, status: VersionEvaluation.Status, **fields: str) -> None:
    """End without a result; predictions so far are deleted."""
    if evaluation.held().end(status, **fields):
        evaluation.images.all().delete()
        storage.delete_file(evaluation.images_file)


class _Run:
    """One run over the selected images, from `evaluation.done` on."""

    def __init__(self, evaluation: VersionEvaluation) -> None:
        self.evaluation, version = evaluation, evaluation.training_version
        self.ids = lifecycle.read_image_ids(evaluation)
        self.model = model_cache.load_model(version)
        self.trained = TrainedImages.of(version)
        self.known = KnownLabels(self.model.labels, self.model.is_multi_label, evaluation.result)

    def run(self) -> bool:
        """False if SLICE_S passed before the end. Raises what ends an evaluation."""
        until = time.monotonic() + SLICE_S
        while self.evaluation.done < len(self.ids):
            self._predict_chunk(self.ids[self.evaluation.done : self.evaluation.done + CHUNK_SIZE])
            if time.monotonic() > until:
                return False
        self._complete()
        return True

    def _predict_chunk(self, ids: Sequence[int]) -> None:
        from training.engine.evaluation.evaluate import predict_samples

        self.evaluation.beat()
        images = {
            image.pk: image
            for image in Image.objects.labeled().filter(project=self.evaluation.source_id, pk__in=ids)
        }
        labels = _labels_of(list(images))
        self.known.counts["gone"] += len(ids) - len(images)
        truths = {pk: self.known.truth_of(labels.get(pk, [])) for pk in images}
        samples = [Sample(str(pk), _path(images[pk]), truth, "EVAL") for pk, truth in truths.items() if truth]
        threads = settings.EXEML_ENGINE_THREADS or None
        predictions, unreadable = predict_samples(self.model, samples, threads=threads)
        self.known.counts["unreadable"] += len(unreadable)
        with transaction.atomic():
            trained = self.trained.among(list(images.values()))
            save_predictions(self.evaluation, predictions, trained, images.keys())
            self._advance(len(ids))

    def _advance(self, images: int) -> None:
        """Move `done` on, which only the holder of the claim can. Raises ClaimLost, Cancelled."""
        evaluation = self.evaluation
        here = evaluation.held().filter(done=evaluation.done)
        evaluation.done += images
        fields = {"done": evaluation.done, "result": self.known.counts, "heartbeat_at": timezone.now()}
        if not here.update(**fields):
            raise ClaimLost
        if not evaluation.wanted().exists():
            raise Cancelled

    def _complete(self) -> None:
        evaluation = self.evaluation
        result = result_from_rows(evaluation, self.model.labels, self.known.counts)
        shown = {"shown_at": timezone.now(), "shown_by": evaluation.created_by}
        if not evaluation.wanted().end(Status.COMPLETED, result=result, **shown):
            raise Cancelled
        storage.delete_file(evaluation.images_file)


def _labels_of(image_ids: Sequence[int]) -> dict[int, list[str]]:
    """Image id → label names."""
    labels: dict[int, list[str]] = {}
    rows = Annotation.objects.filter(image__in=image_ids).order_by("image", "label__position", "label")
    for image_id, name in rows.values_list("image", "label__name"):
        labels.setdefault(image_id, []).append(name)
    return labels


def _path(image: Image) -> Path:
    """The image's file. A missing one is left to the engine, which says which images are unreadable."""
    try:
        return storage.local_path(image.file_name)
    except FileNotFoundError:
        return Path(settings.WORK_DIR) / "missing" / image.file_name

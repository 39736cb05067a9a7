"""A part of verifying a backup (`projects.backup.verify`): the newest model loads and answers."""

from __future__ import annotations

from collections.abc import Callable

from exeml_site.lib.errors import Refused
from training.models import TrainingVersion
from training.serving.inference.model_cache import ModelUnavailable
from training.serving.inference.predictor import verify_model


def check_newest_model(extract: Callable[[str], None]) -> str:
    """Load the newest Completed version's model and run its self-test. Raises Refused if that fails.

    `extract` stores the backup's files below a folder.
    """
    newest = (
        TrainingVersion.objects.completed().select_related("project").order_by("-finished_at", "-pk").first()
    )
    if newest is None:
        return "There is no model to load."
    extract(newest.folder)
    name = f"the newest model, {newest.name} of {newest.project.name},"
    try:
        verify_model(newest)
    except ModelUnavailable as problem:
        raise Refused(f"The backup is not good: {name} does not load. {problem}") from problem
    return f"{name[0].upper()}{name[1:]} loads, and its self-test holds."

"""The parts that every page of a training version shows: the Version Manager and the tabs."""

from __future__ import annotations

from typing import Any

from django import template
from django.db.models import Max, Q
from django.template import Context

from projects.models import Project
from training.evaluation.best_version import rank
from training.models import Metric, TrainingVersion
from training.versions.progress_view import percent_done

register = template.Library()

DEFERRED_FIELDS = (
    "confusion",
    "cross_validation",
    "learning",
    "traceback",
    "seconds_by_phase",
    "failure_cause",
    "failure_remedy",
)


@register.inclusion_tag("versions/_version_list.html", takes_context=True)
def version_manager(
    context: Context, project: Project, chosen: int | None = None, is_refresh: bool = False
) -> dict[str, Any]:
    """`{% version_manager project chosen=version.number %}`: the cards of all versions, newest first.

    With `is_refresh` they replace those of the page (out-of-band swap of htmx).
    """
    is_overall = Q(metrics__label="", metrics__name=Metric.Name.ACCURACY)
    versions: list[Any] = list(
        TrainingVersion.objects.alive()
        .filter(project=project)
        .select_related("submitted_by")
        .annotate(accuracy=Max("metrics__value", filter=is_overall))
        .defer(*DEFERRED_FIELDS)
        .order_by("-number")
    )
    ranking = rank(project)
    for version in versions:
        version.percent = percent_done(version)
        version.mark = ranking.mark(version)
        version.is_best = version.pk == ranking.best
        version.is_unranked = version.pk in ranking.unranked
    return {
        "project": project,
        "versions": versions,
        "chosen": chosen,
        "is_refresh": is_refresh,
        "is_any_active": any(version.is_active for version in versions),
        "frame": context["frame"],
    }

"""Compare: versions side by side on the same images."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from exeml_site.lib import jobs
from exeml_site.lib.http import page
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.datasets.publish import ManifestDamaged
from projects.models import Image, Project, Role
from training.evaluation import comparison
from training.models import TrainingVersion

MAX_DISPUTES = 60


@project_page(Role.VIEWER)
@require_safe
def compare_versions(request: PageRequest, project: Project) -> HttpResponse:
    """`?v=1&v=2`: the first one is the base. What a version has not answered yet a worker asks it."""
    versions = list(
        TrainingVersion.objects.completed()
        .filter(project=project)
        .select_related(
            "dataset_version",
            "incremental_version__dataset_version",
            "promoted_candidate__training_version",
        )
        .prefetch_related("candidates")
        .order_by("number")
    )
    asked = [parse_int(one) for one in request.GET.getlist("v")]
    chosen = [one for one in versions if one.number in asked][: comparison.MAX_VERSIONS]
    if not request.GET.getlist("v"):
        chosen = versions[-2:]
    context: dict[str, Any] = {"project": project, "versions": versions, "chosen": chosen}
    if len(chosen) >= 2:
        context |= _comparison_context(project, chosen)
    fragment = "evaluation/_comparison.html"
    return page(request, "evaluation/comparison.html", context, fragment=fragment)


def _comparison_context(project: Project, chosen: list[TrainingVersion]) -> dict[str, Any]:
    try:
        found = comparison.compare(project, chosen)
    except ManifestDamaged as problem:
        return {"problem": str(problem)}
    for column in found.columns:
        if column.waiting:
            jobs.enqueue("rescore_version", column.version.pk)
    shown = found.disagreements[:MAX_DISPUTES]
    images = Image.objects.in_bulk([one.image_id for one in shown])
    return {
        "found": found,
        "disputes": [(one, images.get(one.image_id)) for one in shown],
        "more": len(found.disagreements) - len(shown),
    }

"""Compare: several versions on the same images."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from exeml_site.lib.http import page
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.datasets.publish import ManifestDamaged
from projects.models import Image, Project, Role
from training.evaluation import comparison
from training.evaluation.selections.results import shown_final_tests
from training.models import TrainingVersion

MAX_DISPUTES = 60


@project_page(Role.VIEWER)
@require_safe
def compare_versions(request: PageRequest, project: Project) -> HttpResponse:
    """`?v=1&v=2`: the first version is the base. A worker predicts the images that a version lacks."""
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
    numbers = [parse_int(text) for text in request.GET.getlist("v")]
    chosen = [version for version in versions if version.number in numbers][: comparison.MAX_VERSIONS]
    if not request.GET.getlist("v"):
        chosen = versions[-2:]
    context: dict[str, Any] = {"project": project, "versions": versions, "chosen": chosen}
    if len(chosen) >= 2:
        context |= _comparison_context(project, chosen)
    fragment = "evaluation/_comparison.html"
    return page(request, "evaluation/comparison.html", context, fragment=fragment)


def _comparison_context(project: Project, chosen: list[TrainingVersion]) -> dict[str, Any]:
    try:
        result = comparison.compare(project, chosen)
    except ManifestDamaged as problem:
        return {"problem": str(problem)}
    comparison.request_predictions(result)
    test_results = shown_final_tests(chosen)
    disagreements = result.disagreements[:MAX_DISPUTES]
    images = Image.objects.in_bulk([row.image_id for row in disagreements])
    return {
        "found": result,
        "test_results": test_results,
        "has_test_results": any(test_results),
        "disputes": [(row, images.get(row.image_id)) for row in disagreements],
        "more": len(result.disagreements) - len(disagreements),
    }

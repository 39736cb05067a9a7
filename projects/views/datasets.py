"""Dataset versions: the list, one version, its differences, its manifest, and restoring its labels."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to
from exeml_site.lib.params import parse_int
from projects.access import PageRequest, project_page
from projects.datasets import compare, leakage, statistics
from projects.datasets.publish import ManifestDamaged
from projects.datasets.responses import manifest_response
from projects.labels.parts import count_images
from projects.models import DatasetVersion, Image, Label, Project, Role

PAGE_SIZE = 60  # differing images on a page


@project_page(Role.VIEWER)
@require_safe
def dataset_versions(request: PageRequest, project: Project) -> HttpResponse:
    versions = _versions(project).defer("counts", "split", "statistics")
    return page(request, "datasets/dataset_versions.html", {"project": project, "versions": versions})


@project_page(Role.VIEWER)
@require_safe
def dataset_version(request: PageRequest, project: Project, dataset_name: str) -> HttpResponse:
    version = _get(project, dataset_name)
    context: dict[str, Any] = {"project": project, "version": version, "rows": _rows(version)}
    context["leaking"] = _first_images(project, version.split.get("leaking", []))
    context["moved"] = _first_images(project, version.split.get("moved_images", []))
    context["ratio_note"] = _ratio_text(version)
    context["may_restore"] = request.membership.role >= Role.MANAGER
    try:
        portrait = statistics.statistics_of(version)
        context |= {"portrait": portrait, "charts": statistics.histograms(portrait)}
    except ManifestDamaged as problem:
        context["problem"] = str(problem)
    others = _versions(project).filter(published_at__isnull=False).exclude(pk=version.pk)
    context["others"] = list(others.values_list("name", flat=True))
    return page(request, "datasets/dataset_version.html", context)


@project_page(Role.VIEWER)
@require_safe
def dataset_differences(request: PageRequest, project: Project, dataset_name: str) -> HttpResponse:
    """The changes from another version to this one: `?from=V001&kind=relabeled&page=2`."""
    version = _get(project, dataset_name)
    if not request.GET.get("from"):
        return redirect_to(request, _address(version))
    other = _get(project, request.GET["from"])
    context: dict[str, Any] = {"project": project, "version": version, "other": other}
    try:
        comparison = compare.differences(other, version)
    except ManifestDamaged as problem:
        return page(request, "datasets/dataset_differences.html", context | {"problem": str(problem)})
    asked = request.GET.get("kind", "")
    kind = (
        asked
        if asked in compare.DIFFERENCE_KINDS
        else next((kind for kind, _, images in comparison.counts if images), "added")
    )
    differences = comparison.of(kind)
    last = max(1, -(-len(differences) // PAGE_SIZE))
    number = min(max(parse_int(request.GET.get("page")) or 1, 1), last)
    shown_differences = differences[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    images = Image.objects.in_bulk([difference.image_id for difference in shown_differences])
    context |= {
        "comparison": comparison,
        "kind": kind,
        "lines": [(difference, images.get(difference.image_id)) for difference in shown_differences],
        "number": number,
        "last": last,
    }
    return page(request, "datasets/dataset_differences.html", context)


@project_page(Role.VIEWER)
@require_safe
def dataset_manifest(request: PageRequest, project: Project, dataset_name: str) -> HttpResponseBase:
    """The manifest exactly as it was published."""
    version = _get(project, dataset_name)
    try:
        return manifest_response(version)
    except ManifestDamaged as problem:
        messages.error(request, str(problem))
        return redirect_to(request, _address(version))


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def restore_labels(request: PageRequest, project: Project, dataset_name: str) -> HttpResponse:
    """GET shows what would change, POST restores the labels of the version."""
    version = _get(project, dataset_name)
    try:
        if request.method == "GET":
            context: dict[str, Any] = {"project": project, "version": version}
            context["restoring"] = compare.preview_restore(version)
            return page(request, "datasets/restore_labels.html", context)
        events = compare.restore_labels(
            version, request.user, unlabel_others=request.POST.get("others") == "1"
        )
    except ManifestDamaged as problem:
        messages.error(request, str(problem))
        return redirect_to(request, _address(version))
    changed = sum(map(count_images, events))
    if changed:
        sentence = ngettext(
            "%(count)s image has the labels of %(version)s again.",
            "%(count)s images have the labels of %(version)s again.",
            changed,
        )
        messages.success(request, sentence % {"count": count(changed), "version": version})
    else:
        sentence = gettext("Nothing changed: the labels are already those of %(version)s.")
        messages.info(request, sentence % {"version": version})
    return redirect_to(request, reverse("history", args=[project.pk]) if changed else _address(version))


def _versions(project: Project) -> Any:
    return DatasetVersion.objects.filter(project=project).select_related("created_by")


def _get(project: Project, name: str) -> DatasetVersion:
    """A published version; a reserved one has nothing to show yet."""
    version: DatasetVersion = get_object_or_404(
        _versions(project), name__iexact=name, published_at__isnull=False
    )
    version.project = project
    return version


def _address(version: DatasetVersion) -> str:
    return reverse("dataset_version", args=[version.project_id, version.name])


def _rows(version: DatasetVersion) -> list[dict[str, Any]]:
    """Counts by label and split, with the `Label` if it still exists."""
    labels = {label.name: label for label in Label.objects.filter(project=version.project_id)}
    rows = [
        {"name": name, "label": labels.get(name), "train": sides["TRAIN"], "eval": sides["EVAL"]}
        for name, sides in version.counts.items()
    ]
    order = {name: place for place, name in enumerate(labels)}
    return sorted(rows, key=lambda row: (order.get(row["name"], len(order)), row["name"]))


def _first_images(project: Project, ids: list[int]) -> list[Image]:
    return list(Image.objects.filter(project=project, pk__in=ids[:24]))


def _ratio_text(version: DatasetVersion) -> str:
    return leakage.ratio_note(version.split, version.training_ratio) if version.split else ""

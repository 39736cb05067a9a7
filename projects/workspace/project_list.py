"""The rows of the project list, in a constant number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy

from exeml_site.lib.text import AnyText
from projects.apps import sort_columns
from projects.models import Image, Label, Project
from projects.models.project import ProjectQuerySet

PAGE_SIZE = 20
THUMBNAIL_COUNT = 4
NEWEST_FIRST = "-created"


@dataclass(frozen=True)
class ListColumn:
    """A sortable column. `first`: the sort after the first click on its header."""

    key: str
    title: AnyText
    first: str

    def next_sort(self, sort: str) -> str:
        """The sort after a click on the header: the other direction if the list is sorted by it already."""
        if sort.lstrip("-") != self.key:
            return self.first
        return self.key if sort.startswith("-") else f"-{self.key}"

    def aria_sort(self, sort: str) -> str:
        if sort.lstrip("-") != self.key:
            return ""
        return "descending" if sort.startswith("-") else "ascending"


COLUMNS = (
    ListColumn("name", gettext_lazy("Name"), "name"),
    ListColumn("images", gettext_lazy("Images"), "-images"),
    ListColumn("accuracy", gettext_lazy("Accuracy"), "-accuracy"),
    ListColumn("created", gettext_lazy("Created"), "-created"),
)
SORTS = frozenset(f"{sign}{column.key}" for column in COLUMNS for sign in ("", "-"))


@dataclass
class ProjectRow:
    project: Project
    images: int = 0
    labeled: int = 0
    labels: int = 0
    thumbnails: list[str] = field(default_factory=list)  # the sha256 of the newest images


def search_projects(projects: ProjectQuerySet, text: str) -> ProjectQuerySet:
    """The projects whose name or description contains every word of `text`."""
    for word in text.split():
        projects = projects.filter(Q(name__icontains=word) | Q(description__icontains=word))
    return projects


def sort_projects(projects: ProjectQuerySet, sort: str) -> QuerySet[Project]:
    """The projects ordered by `sort`, one of SORTS. Missing values come last in both directions."""
    key, is_descending = sort.lstrip("-"), sort.startswith("-")
    if key == "images":
        projects = projects.annotate(image_total=_image_total())
    if key in sort_columns:
        projects = projects.annotate(**{key: sort_columns[key]()})
    values: dict[str, F | Lower] = {
        "name": Lower("name"),
        "images": F("image_total"),
        "created": F("created_at"),
    }
    value = values.get(key, F(key))
    order = value.desc(nulls_last=True) if is_descending else value.asc(nulls_last=True)
    return projects.order_by(order, "-pk")


def read_rows(projects: Sequence[Project]) -> list[ProjectRow]:
    """Image counts, label counts and thumbnails of all `projects`, in three queries."""
    rows = {project.pk: ProjectRow(project) for project in projects}
    images = Image.objects.alive().filter(project__in=list(rows)).order_by().values("project_id")
    for counts in images.annotate(images=Count("pk"), labeled=Count("pk", filter=Q(is_labeled=True))):
        row = rows[counts["project_id"]]
        row.images, row.labeled = counts["images"], counts["labeled"]
    labels = Label.objects.filter(project__in=list(rows)).order_by().values_list("project_id")
    for project_id, count in labels.annotate(Count("pk")):
        rows[project_id].labels = count
    for project_id, *newest in _newest_images(list(rows)):
        rows[project_id].thumbnails = [sha256 for sha256 in newest if sha256 is not None]
    return list(rows.values())


def _newest_images(project_ids: list[int]) -> QuerySet[Project, tuple[Any, ...]]:
    """The newest images of each project, by index look-ups: a window function would read every image."""
    newest = Image.objects.alive().filter(project=OuterRef("pk")).order_by("-pk").values("sha256")
    nth = {f"newest_{n}": Subquery(newest[n : n + 1]) for n in range(THUMBNAIL_COUNT)}
    return Project.objects.filter(pk__in=project_ids).order_by().annotate(**nth).values_list("pk", *nth)


def _image_total() -> Subquery:
    counted = Image.objects.alive().filter(project=OuterRef("pk")).order_by().values("project")
    return Subquery(counted.annotate(total=Count("pk")).values("total"))

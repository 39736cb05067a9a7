from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.db.models import Subquery

if TYPE_CHECKING:
    from projects.models import Project

# Registries that apps above this one fill in `ready()`, so that this app does not import them.
delete_blockers: list[Callable[[Project], Iterator[str]]] = []  # sentences about what still runs
purge_steps: list[Callable[[Project], None]] = []  # delete what refers to a project that is purged
sort_columns: dict[str, Callable[[], Subquery]] = {}  # key of a project list column → its value


class ProjectsConfig(AppConfig):
    name = "projects"
    verbose_name = "Projects"  # not translated: for operators

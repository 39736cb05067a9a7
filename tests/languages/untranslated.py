"""Lists the texts that are not marked for translation: `python -m tests.languages.untranslated [PATH…]`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.languages.findings import Finding
from tests.languages.python_texts import python_texts
from tests.languages.script_texts import script_texts
from tests.languages.template_texts import template_texts

ROOT = Path(__file__).resolve().parents[2]
WALKERS: dict[str, Callable[[str, str], Iterator[Finding]]] = {
    ".html": template_texts,
    ".jinja": template_texts,
    ".py": python_texts,
    ".js": script_texts,
}
WHERE = ("exeml_site", "projects", "training", "templates", "static/js")
# Logs, command line, the engine, answers to programs, stored charts, the operators' admin, and what runs
# elsewhere: English.
NOT_FOR_PEOPLE = (
    *("exeml_site/management", "exeml_site/supervisor", "exeml_site/sqlite3", "exeml_site/settings.py"),
    *("exeml_site/postgresql", "exeml_site/lib/outages"),
    *("exeml_site/environment.py", "exeml_site/job_names.py"),
    *("exeml_site/checks.py", "exeml_site/worker.py", "exeml_site/web_worker.py", "exeml_site/cron.py"),
    *("exeml_site/hosts.py", "exeml_site/lib/parent_death.py", "exeml_site/lib/log_limit.py"),
    *("exeml_site/health", "projects/operators", "training/management"),
    *("projects/management", "projects/migrations", "projects/admin", "projects/setup.py"),
    *("training/engine", "training/migrations", "training/admin", "training/checks.py"),
    *("projects/api", "training/api"),  # their sentences for people are those of forms and actions
    *("training/views/api", "training/serving/openapi.py", "training/serving/calls/prometheus.py"),
    *("training/serving/metrics.py", "training/serving/call_request.py"),
    *("training/serving/download/kit", "training/evaluation/plots/charts.py"),
    *("templates/admin", "templates/django_rq"),
    *("projects/backup", "training/serving/backup_check.py"),
    *("projects/transfers/project_file", "training/jobs/project_file.py"),  # stored, with values inside
)


def untranslated(*paths: str) -> Iterator[Finding]:
    """Texts below folders and files given relative to the repository; below all of the code without any."""
    for path in sorted(_files(paths or WHERE)):
        name = str(path.relative_to(ROOT))
        if not name.startswith(NOT_FOR_PEOPLE):
            yield from WALKERS[path.suffix](name, path.read_text())


def _files(paths: tuple[str, ...]) -> Iterator[Path]:
    for path in paths:
        place = ROOT / path
        files = place.rglob("*") if place.is_dir() else [place]
        yield from (file for file in files if file.suffix in WALKERS)


if __name__ == "__main__":
    found = list(untranslated(*sys.argv[1:]))
    print(*found, sep="\n")
    sys.exit(f"{len(found)} texts" if found else 0)

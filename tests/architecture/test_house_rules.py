"""House rules that a test can check."""

from __future__ import annotations

import importlib
import io
import re
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import Q
from django.forms import Form
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse
from django.utils.module_loading import import_string
from redis import Redis

from exeml_site.cron import PERIODIC_JOBS
from exeml_site.lib.jobs import NamedJob
from tests.conftest import NOT_QUICK, SAME_ON_EVERY_DATABASE

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = [
    path
    for path in sorted((ROOT / "templates").rglob("*.html"))
    if path.parent.name not in ("admin", "django_rq")
]  # those follow the admin templates of Django and django-rq
STYLESHEETS = sorted((ROOT / "static/css").rglob("*.css"))
LONGEST_LINE = 120
WHOLE_PAGES = {"base.html", "error.html"}
VARIABLE = re.compile(r"""["'](EXEML_[A-Z0-9_]+|PORT|DATABASE_URL|REDIS_URL|STORAGE_URL)["']""")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "templates"))


def without_comments(path: Path) -> str:
    text = re.sub(r"\{#.*?#\}", "", path.read_text())
    return re.sub(r"\{% comment .*?endcomment %\}", "", text, flags=re.DOTALL)


def read_variables() -> set[str]:
    """Environment variables that the code reads."""
    names: set[str] = set()
    for path in (ROOT / "exeml_site").rglob("*.py"):
        for line in path.read_text().splitlines():
            if "environ" in line or "env_" in line:
                names.update(VARIABLE.findall(line))
    return names


def test_every_setting_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in sorted(read_variables()) if f"`{name}`" not in readme]
    assert len(read_variables()) > 15
    assert not missing


def test_the_readme_names_no_setting_that_nothing_reads() -> None:
    code = "".join(
        path.read_text()
        for folder in ("exeml_site", "tests", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )
    documented = set(re.findall(r"`(EXEML_[A-Z0-9_]+)`", (ROOT / "README.md").read_text()))
    assert [name for name in sorted(documented) if name not in code] == []


# What the Content-Security-Policy would block silently.
BLOCKED = {
    "an inline style": r"<[^>]*\sstyle\s*=",
    "an inline handler": r"<[^>]*\son[a-z]+\s*=",
    "a style sheet within the page": r"<style\b",
    "a script within the page": r"<script\b(?![^>]*\bsrc=)",
    "htmx would have to evaluate a script": r"hx-on|hx-vals=.js:|hx-vars",
}


def test_there_are_templates() -> None:
    """The rules below ask every one of them."""
    assert len(TEMPLATES) > 100


def test_a_template_holds_no_style_and_no_script() -> None:
    texts = {path: without_comments(path) for path in TEMPLATES}
    found = [
        f"{name_of(path)}: {what}"
        for path, text in texts.items()
        for what, rule in BLOCKED.items()
        if re.search(rule, text)
    ]
    assert found == []


def test_a_template_loads_nothing_from_elsewhere() -> None:
    rule = r"""(?:src|href|action)\s*=\s*["']((?:https?:)?//[^"']+)"""
    found = [
        f"{name_of(path)}: {url}" for path in TEMPLATES for url in re.findall(rule, without_comments(path))
    ]
    assert found == []


def test_no_address_begins_at_the_root_of_the_host() -> None:
    """The site may lie below a path (EXEML_PATH_PREFIX): `url`, `static` and `data-*` know it."""
    rule = r"""\s(?:href|src|action|hx-\w+)\s*=\s*["']/|(?:fetch|open|assign|replaceState|import)\(["'`]/"""
    files = [*(ROOT / "templates").rglob("*.*ml"), *(ROOT / "templates").rglob("*.jinja")]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in [*files, *(ROOT / "static/js").rglob("*.js")]
        for match in re.finditer(rule, without_comments(path))
    ]
    assert len(files) > 100 and found == []


def test_no_field_cuts_off_what_is_pasted() -> None:
    """`maxlength` drops characters without a word; a form's field says what is wrong."""
    assert [name_of(path) for path in TEMPLATES if "maxlength" in without_comments(path)] == []


def test_no_form_lets_the_browser_cut_off_what_is_pasted() -> None:
    for package in ("projects", "training"):
        for path in (ROOT / package / "forms").glob("[a-z]*.py"):
            importlib.import_module(f"{package}.forms.{path.stem}")
    ours = [form for form in Form.__subclasses__() if form.__module__.startswith(("projects", "training"))]
    cut = [
        f"{form.__name__}.{name}"
        for form in ours
        for name, field in form.base_fields.items()
        if "maxlength" in field.widget.attrs
    ]
    assert len(ours) > 20 and not cut


def test_fragments_begin_with_an_underscore_and_pages_extend_the_frame() -> None:
    wrong = [
        name_of(path)
        for path in TEMPLATES
        if path.name not in WHOLE_PAGES and ("{% extends" in path.read_text()) == path.name.startswith("_")
    ]
    assert wrong == []


def test_a_question_keeps_its_element() -> None:
    """A link inherits `hx-swap` from a polling ancestor: outerHTML would replace #question itself."""
    rule = r'hx-target="#question"\s*(hx-swap="innerHTML")?'
    assert [name_of(path) for path in TEMPLATES if not all(re.findall(rule, path.read_text()))] == []


def test_what_is_included_is_a_fragment() -> None:
    included = {
        name for path in TEMPLATES for name in re.findall(r"""\{% include ["']([^"']+)""", path.read_text())
    }
    assert [name for name in sorted(included) if not name.rpartition("/")[2].startswith("_")] == []
    assert [name for name in sorted(included) if not (ROOT / "templates" / name).is_file()] == []


def test_no_line_of_a_template_or_stylesheet_is_too_long() -> None:
    """Where the formatter finds no place to break a line, a person does."""
    templates = [*(ROOT / "templates").rglob("*.html"), *(ROOT / "templates").rglob("*.jinja")]
    files = [*sorted(templates), *STYLESHEETS]
    too_long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > LONGEST_LINE
    ]
    assert len(files) > 100
    assert too_long == []


def test_no_stylesheet_asks_for_an_element_without_whitespace() -> None:
    """`:empty` is false for an element that holds a line break; `:not(:has(*))` is not."""
    assert STYLESHEETS
    assert [sheet.name for sheet in STYLESHEETS if ":empty" in sheet.read_text()] == []


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    out = io.StringIO()
    try:
        call_command("makemigrations", check=True, dry_run=True, stdout=out)
    except SystemExit:
        pytest.fail(out.getvalue())


@pytest.mark.parametrize("name", [*settings.MACHINE_CLEANERS, *settings.GONE_FILES.values()])
def test_what_cleans_a_machine_is_a_function(name: str) -> None:
    assert callable(import_string(name))


@pytest.mark.parametrize("name", settings.JOBS)
def test_every_job_is_a_function(name: str) -> None:
    assert callable(import_string(settings.JOBS[name]))


def test_jobs_are_named_where_they_are_enqueued() -> None:
    """Periodic, after an event, or under the dotted name of an earlier version."""
    jobs = {
        *(job.name for job in PERIODIC_JOBS),
        *(name for names in settings.JOBS_AFTER.values() for name in names),
        *settings.FORMER_JOBS.values(),
    }
    assert jobs <= set(settings.JOBS)


def test_a_job_of_an_earlier_version_runs_the_function_of_today() -> None:
    for former, name in settings.FORMER_JOBS.items():
        job = NamedJob.create(former, args=(1,), connection=Redis())
        assert job.func is import_string(settings.JOBS[name])


@pytest.mark.django_db
def test_no_check_complains() -> None:
    call_command("check", databases=["default"], fail_level="WARNING")


def addresses_of_the_queues() -> list[str]:
    """The URLs below /admin/rq/, with placeholder arguments."""
    values = {"int": 0, "str": "x", "path": "x"}
    urls = []
    for pattern in get_resolver("django_rq.urls").url_patterns:
        assert isinstance(pattern, URLPattern)
        kinds = {name: type(kind).__name__.lower() for name, kind in pattern.pattern.converters.items()}
        arguments = {name: next(v for k, v in values.items() if k in kind) for name, kind in kinds.items()}
        urls.append(reverse(f"django_rq:{pattern.name}", kwargs=arguments))
    return sorted(set(urls))


@pytest.mark.parametrize("url", addresses_of_the_queues())
def test_the_pages_of_the_queues_are_the_operators_alone(url: str, alice: Client) -> None:
    """Redis does not run in tests, so any answer other than the refusal would be an error."""
    answer = alice.get(url)
    if answer.status_code == 403:
        return
    if url.startswith("/admin/rq/stats.json") or url == "/admin/rq/metrics":
        assert answer.json().get("error") is True
        return
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_what_is_not_asked_on_postgresql_is_there_and_says_nothing_about_it() -> None:
    """A file that names PostgreSQL or locks is asked there; tests that commit are anyway."""
    whole = [name for name in SAME_ON_EVERY_DATABASE if "::" not in name]
    single = [name.partition("[")[0].split("::") for name in SAME_ON_EVERY_DATABASE if "::" in name]
    gone = [name for name in (*whole, *NOT_QUICK) if not (ROOT / name).exists()]
    gone += [name for file, name in single if f"def {name}(" not in (ROOT / file).read_text()]
    left_out = [
        path
        for name in whole
        for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("test_*.py"))
    ]
    wrong = [
        str(path.relative_to(ROOT))
        for path in left_out
        if re.search(r"postgresql|select_for_update", text := path.read_text())
        and "transaction=True" not in text
    ]
    assert gone == [] and wrong == [] and len(left_out) > 30


def test_who_deletes_a_row_finds_what_refers_to_it_by_an_index() -> None:
    """Without an index each deletion reads the whole referring table. Users are excepted: rarely deleted."""
    slow = []
    for model in [
        *apps.get_app_config("projects").get_models(),
        *apps.get_app_config("training").get_models(),
    ]:
        led = {
            index.fields[0].lstrip("-")
            for index in [*model._meta.indexes, *model._meta.constraints]
            if getattr(index, "fields", None)
            and index.condition in (None, Q(**{f"{index.fields[0]}__isnull": False}))
        }
        slow += [
            f"{model.__name__}.{field.name}"
            for field in model._meta.concrete_fields
            if field.is_relation and field.related_model is not User
            if not (field.db_index or field.unique or field.name in led)
        ]
    assert slow == []

"""Rules on imports, checked for every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("exeml_site", "projects", "training")
HEAVY = ("torch", "torchvision", "timm", "openvino", "onnxruntime", "sklearn", "matplotlib")
MAX_LINES = 400
MAX_MODULES = 15  # per folder

# Packages that may run the engine; everything else outside it knows only its plain, torch-free modules.
RUN_THE_ENGINE = (
    "training.jobs",
    "training.assist",
    "training.serving.inference",
    "training.serving.download",
)
PLAIN = {
    "training.engine",
    "training.engine.config",
    "training.engine.backbones.latency",
    "training.engine.backbones.registry",
    "training.engine.bundle.decision",
    "training.engine.evaluation.curves",
    "training.engine.evaluation.intervals",
    "training.engine.evaluation.metrics",
    "training.engine.evaluation.significance",
    "training.engine.evaluation.slices",
}


@dataclass(frozen=True)
class Import:
    """`importer` imports `name`, a module or a name within one."""

    importer: str
    name: str
    line: int

    def is_of(self, *packages: str) -> bool:
        return any(self.name == package or self.name.startswith(f"{package}.") for package in packages)

    def is_from(self, *packages: str) -> bool:
        return any(
            self.importer == package or self.importer.startswith(f"{package}.") for package in packages
        )

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.name}"


def modules() -> Iterator[tuple[str, Path]]:
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(module: str, path: Path) -> Iterator[Import]:
    """All imports, also within functions; `from a import b` counts as a and as a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative imports hide the arrows"
            for alias in node.names:
                yield Import(module, f"{node.module}.{alias.name}", node.lineno)


MODULES = dict(modules())
IMPORTS = [imported for module, path in MODULES.items() for imported in imports_of(module, path)]


def module_of(name: str) -> str:
    """The module of an imported name: `training.engine` for `training.engine.Report`."""
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name


def refused(*wrong: Import) -> str:
    return "\n".join(str(imported) for imported in wrong)


# Floors of the house, the lowest first. A module imports from its own package and from lower floors.
FLOORS: list[tuple[str, ...]] = [
    ("exeml_site.lib",),
    ("exeml_site",),
    ("projects.models", "projects.formats"),
    ("projects.apps", "projects.access", "projects.audit", "projects.usage", "projects.notices"),
    ("projects.context",),
    ("projects.backup",),
    ("projects.labels",),
    ("projects.datasets", "projects.collaboration"),
    ("projects.quality",),
    ("projects.images",),
    ("projects.label_data", "projects.transfers", "projects.workspace"),
    ("projects.operators", "projects.sign_in"),
    ("projects.forms", "projects.admin", "projects.setup", "projects.templatetags"),
    ("projects.api.core",),
    ("projects.views", "projects.api", "projects.management"),
    ("projects",),
    ("training.engine.config",),
    ("training.engine.runtime", "training.engine.__init__"),
    ("training.engine.data",),
    ("training.engine.backbones",),
    ("training.engine.bundle", "training.engine.assist"),
    ("training.engine.evaluation",),
    ("training.engine.search",),
    ("training.engine.cross_validation",),
    ("training.engine.fit",),
    ("training.engine",),
    ("training.models",),
    ("training.versions", "training.checks", "training.project_hooks"),
    ("training.evaluation",),
    ("training.serving.inference",),
    ("training.serving.tokens",),
    ("training.serving.calls", "training.serving.download", "training.assist"),
    ("training.serving.answer",),
    ("training.serving.batches",),
    ("training.serving", "training.jobs"),
    ("training.forms", "training.templatetags"),
    ("training.views", "training.api", "training.admin"),
    ("training",),
]
FLOOR_OF = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
COMPOSITION = {"exeml_site.urls", "exeml_site.wsgi"}  # they name every app, and nothing imports them


def package_of(module: str) -> str:
    """The entry of FLOORS that the module belongs to: the longest one that is a part of its name."""
    if module == "training.engine":
        return "training.engine.__init__"
    while module not in FLOOR_OF:
        module = module.rpartition(".")[0]
    return module


def test_imports_point_down() -> None:
    wrong = []
    for imported in IMPORTS:
        if not imported.is_of(*OURS) or imported.importer in COMPOSITION:
            continue
        importer, target = package_of(imported.importer), package_of(module_of(imported.name))
        if importer != target and FLOOR_OF[importer] <= FLOOR_OF[target]:
            wrong.append(imported)
    assert not wrong, refused(*wrong)


def test_no_import_goes_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for imported in IMPORTS:
        target = module_of(imported.name)
        if target in MODULES and target != imported.importer:
            graph[imported.importer].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in MODULES.values()}),
    ids=lambda folder: str(folder.relative_to(ROOT)),
)
def test_a_folder_holds_at_most_fifteen_modules(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    if folder.name != "migrations":
        assert len(modules) <= MAX_MODULES


def test_projects_never_import_training() -> None:
    wrong = [imported for imported in IMPORTS if imported.is_from("projects") and imported.is_of("training")]
    assert not wrong, refused(*wrong)


def test_the_engine_knows_neither_django_nor_anything_of_ours() -> None:
    wrong = [
        imported
        for imported in IMPORTS
        if imported.is_from("training.engine")
        and (imported.is_of("django", "rq", "django_rq", *OURS) and not imported.is_of("training.engine"))
    ]
    assert not wrong, refused(*wrong)


def test_models_import_no_views_forms_or_jobs() -> None:
    upper = ("views", "forms", "admin", "urls", "jobs", "versions", "serving", "assist", "engine")
    wrong = [
        imported
        for imported in IMPORTS
        if imported.is_from("projects.models", "training.models")
        and imported.is_of(*(f"{package}.{name}" for package in OURS for name in upper))
    ]
    assert not wrong, refused(*wrong)


def test_views_and_forms_import_neither_the_engine_nor_torch() -> None:
    wrong = [
        imported
        for imported in IMPORTS
        if any(
            part in ("views", "forms", "admin", "api", "templatetags")
            for part in imported.importer.split(".")
        )
        and imported.is_of("training.engine", "training.jobs", *HEAVY)
    ]
    assert not wrong, refused(*wrong)


def test_actions_import_no_views_and_no_forms() -> None:
    upper = ("views", "forms", "admin", "urls", "api")
    wrong = [
        imported
        for imported in IMPORTS
        if not any(part in upper for part in imported.importer.split("."))
        and imported.is_of(*(f"{package}.{name}" for package in ("projects", "training") for name in upper))
    ]
    assert not wrong, refused(*wrong)


def test_only_jobs_assist_inference_and_download_run_the_engine() -> None:
    outside = [
        imported
        for imported in IMPORTS
        if imported.is_of("training.engine") and not imported.is_from("training.engine")
    ]
    wrong = [
        imported
        for imported in outside
        if not imported.is_from(*RUN_THE_ENGINE) and module_of(imported.name) not in PLAIN
    ]
    assert not wrong, refused(*wrong)


def test_torch_and_openvino_are_imported_by_the_engine_alone() -> None:
    engines = ("torch", "torchvision", "timm", "openvino", "onnxruntime")
    kit = "training.serving.download.kit"  # goes into an archive and runs elsewhere
    wrong = [
        imported
        for imported in IMPORTS
        if imported.is_of(*engines) and not imported.is_from("training.engine", kit)
    ]
    assert not wrong, refused(*wrong)


def test_openvino_is_imported_where_its_first_inference_is_made() -> None:
    """Without that inference two threads can deadlock."""
    wrong = [
        imported
        for imported in IMPORTS
        if imported.is_of("openvino") and imported.importer != "training.engine.runtime"
    ]
    assert not wrong, refused(*wrong)


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_short_enough_to_be_read(module: str) -> None:
    if ".migrations." in module:
        return
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= MAX_LINES, f"{module} has {lines} lines: split it by subject"


def run_fresh(code: str) -> str:
    """Output of a fresh interpreter, since this one has imported most modules already."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "entry", ["exeml_site.urls", "exeml_site.wsgi", "exeml_site.cron", "exeml_site.worker", "training.engine"]
)
def test_what_stays_in_memory_is_light(entry: str, tmp_path: Path) -> None:
    code = (
        "import os, sys, importlib\n"
        f"os.environ.update(DJANGO_SETTINGS_MODULE='exeml_site.settings', EXEML_DATA={str(tmp_path)!r})\n"
        "import django; django.setup()\n"
        f"importlib.import_module({entry!r})\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert run_fresh(code) == "", f"importing {entry} imports these"

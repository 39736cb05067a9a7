"""The package exeml-client: what it needs, and how large its parts are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "clients" / "python"
MODULES = sorted((ROOT / "src" / "exeml").rglob("*.py"))
CORE = [path for path in MODULES if not {"cli", "mcp_server"} & set(path.parts)]
MAX_LINES, MAX_MODULES = 400, 15


def test_the_client_needs_httpx_and_pydantic_alone() -> None:
    """Not Django, torch, numpy or the packages of its extras; httpx loads rich where it is there."""
    unwanted = "{'django', 'torch', 'numpy', 'PIL', 'pandas', 'typer', 'mcp'}"
    code = f"import sys, exeml; found = {unwanted} & set(sys.modules); sys.exit(', '.join(found) or 0)"
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd="/", env={"PYTHONPATH": str(ROOT / "src")}, check=True, timeout=60)


def test_no_module_of_the_client_imports_an_extra_when_it_is_loaded() -> None:
    extras = ("typer", "rich", "mcp", "pandas", "numpy", "PIL")
    found = [
        f"{path.name}: {name}"
        for path in CORE
        if path.name != "__main__.py"
        for node in ast.parse(path.read_text()).body
        for name in _imported(node)
        if name.partition(".")[0] in extras
    ]
    assert len(CORE) > 15 and found == []


def _imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert len(list(path.parent.glob("*.py"))) <= MAX_MODULES + 1  # __init__ is none

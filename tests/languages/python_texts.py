"""The strings of a Python module that people read and that do not pass through gettext."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.languages.findings import Finding, has_words

GETTEXT = {f"{kind}gettext{lazy}" for kind in ("", "n", "p", "np") for lazy in ("", "_lazy")} | {
    "_",
    "gettext_noop",
}
# Calls whose strings are for machines or for logs.
SILENT_CALLS = {
    *("debug", "info", "warning", "error", "exception", "critical", "log", "getLogger"),
    *("compile", "match", "fullmatch", "search", "sub", "split", "findall", "finditer"),
    *("execute", "executemany", "RunSQL", "add_argument", "import_string", "print", "cast", "TypeVar"),
    *("ImproperlyConfigured", "AssertionError", "NotImplementedError", "RuntimeError", "TypeError"),
}
# Keywords whose values are shown even when they are one word.
LABELS = {
    "label",
    "help_text",
    "verbose_name",
    "verbose_name_plural",
    "title",
    "description",
    "empty_label",
    "message",
}
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|PRAGMA|CREATE|VACUUM|EXISTS|CASE)\b")


def python_texts(name: str, source: str) -> Iterator[Finding]:
    """A line that ends with `# not translated: <reason>` is skipped."""
    skipped = {n for n, line in enumerate(source.splitlines(), 1) if "# not translated:" in line}
    walker = _Strings()
    walker.visit(ast.parse(source))
    for node, text in walker.found:
        if not skipped & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)):
            yield Finding(name, node.lineno, text)


class _Strings(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[tuple[ast.expr, str]] = []

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in GETTEXT | SILENT_CALLS:
            return
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            self._visit_label(keyword.value) if keyword.arg in LABELS else self.visit(keyword.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        is_choice = any(ast.unparse(base).endswith("Choices") for base in node.bases)
        for part in node.body:
            if is_choice and isinstance(part, ast.Assign) and isinstance(part.value, ast.Tuple):
                self._visit_label(part.value.elts[-1])
            elif isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) in LABELS:
                self._visit_label(part.value)
            else:
                self.visit(part)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = ast.unparse(node.targets[0]).rpartition(".")[2]
        self._visit_label(node.value) if target in LABELS else self.visit(node.value)

    def visit_Dict(self, node: ast.Dict) -> None:
        for value in node.values:
            self.visit(value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
        text = "".join(map(str, parts))
        words = re.sub(r"\S*\{\}\S*", " ", text)
        if has_words(words) and not SQL.match(text):
            self.found.append((node, text))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and has_words(node.value) and not SQL.match(node.value):
            self.found.append((node, node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations are no texts."""

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def _visit_label(self, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            if re.match(r"[A-Z][a-z]+", value.value) or has_words(value.value):
                self.found.append((value, value.value))
        else:
            self.visit(value)

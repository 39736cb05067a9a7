"""The string literals of a script that people read and that do not pass through gettext."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.languages.findings import Finding, has_words, line_of

EMBEDDED = re.compile(r"\$\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)"
    r"|(?P<text>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[^`\\])*`)"
    r"|(?P<call>\b(?:gettext|ngettext|pgettext|npgettext)\()"
    r"|(?P<open>\()|(?P<close>\))",
    re.DOTALL,
)


def script_texts(name: str, source: str) -> Iterator[Finding]:
    """A line with `// not translated: <reason>` is skipped."""
    lines = source.splitlines()
    depth, marked_at = 0, 0
    for token in TOKEN.finditer(source):
        if token["call"] or token["open"]:
            depth += 1
            if token["call"] and not marked_at:
                marked_at = depth
        elif token["close"]:
            marked_at = 0 if depth == marked_at else marked_at
            depth -= 1
        elif token["text"] and not marked_at:
            text = EMBEDDED.sub(" ", token["text"][1:-1])
            line = line_of(source, token.start())
            for part in EMBEDDED.finditer(token["text"]):
                for inner in script_texts(name, part[1]):
                    yield Finding(name, line + inner.line - 1, inner.text)
            if has_words(text) and "// not translated:" not in lines[line - 1]:
                yield Finding(name, line, token["text"][1:-1])

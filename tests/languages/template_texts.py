"""The texts of a template that stand outside `{% translate %}` and `{% blocktranslate %}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from tests.languages.findings import Finding, has_words, line_of

TAG = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
HIDDEN = re.compile(
    r"\{%\s*(?P<tag>blocktranslate|blocktrans|comment)\b.*?\{%\s*end(?P=tag)\s*%\}", re.DOTALL
)
CONSTANT = re.compile(r""""([^"]*)"|'([^']*)'""")
MARKED = re.compile(r"""\b_\(\s*("[^"]*"|'[^']*')\s*\)""")
# Their constants are names of files, addresses and the like.
TECHNICAL_TAGS = {
    "load",
    "static",
    "url",
    "extends",
    "translate",
    "trans",
    "block",
    "if",
    "elif",
    "for",
    "csrf_token",
}
SPOKEN = {
    "title",
    "placeholder",
    "aria-label",
    "aria-description",
    "aria-roledescription",
    "alt",
    "label",
    "summary",
}
SILENT = {"script", "style", "code", "kbd", "pre", "samp"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
NEUTRAL = {
    "exeml",
    "MB",
    "GB",
    "kB",
    "ms",
    "px",
    "min",
    "CSV",
    "JSON",
    "ONNX",
    "OpenVINO",
    "API",
    "GPU",
    "CPU",
    "F1",
}


def template_texts(name: str, source: str) -> Iterator[Finding]:
    """An element with `translate="no"` is skipped, as browsers' translators skip it."""
    visible = HIDDEN.sub(_blank, source)
    yield from _constants(name, visible)
    parser = _Texts(name)
    parser.feed(TAG.sub(_blank, visible))
    parser.close()
    yield from parser.findings


def _constants(name: str, source: str) -> Iterator[Finding]:
    """Texts that tags pass on, such as `{% include … with title="Sign in" %}`, and endings of plurals."""
    for tag in TAG.finditer(source):
        inner = tag[0][2:-2].strip(" -\n")
        if tag[0].startswith("{#"):
            continue
        if re.search(r"\|\s*pluralize", inner):
            yield Finding(name, line_of(source, tag.start()), f"pluralize: {inner}")
        if tag[0].startswith("{%") and inner.split()[0] in TECHNICAL_TAGS:
            continue
        for found in CONSTANT.finditer(MARKED.sub("", inner)):
            text = found[1] or found[2] or ""
            if has_words(text) and not re.fullmatch(r"[\w/.-]+\.(html|jinja|svg)", text):
                yield Finding(name, line_of(source, tag.start()), text)


def _blank(found: re.Match[str]) -> str:
    """As many lines and characters, so that places stay right. A quote would end an attribute."""
    return re.sub(r"[^\n]", " ", found[0])


class _Texts(HTMLParser):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.findings, self.silent = name, list[Finding](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag not in VOID and (tag in SILENT or values.get("translate") == "no" or self.silent):
            self.silent.append(tag)
        for key, value in values.items():
            is_button = (
                tag == "input" and key == "value" and values.get("type") in ("submit", "button", "reset")
            )
            is_data = key.startswith("data-") and len(value.split()) > 1 and has_words(value)
            if (key in SPOKEN or is_button or is_data) and _is_text(value):
                self._add(f"{key}: {value}")

    def handle_endtag(self, tag: str) -> None:
        if self.silent and self.silent[-1] == tag:
            self.silent.pop()

    def handle_data(self, data: str) -> None:
        if not self.silent and _is_text(data):
            before = data[: len(data) - len(data.lstrip())].count("\n")
            self._add(data, before)

    def _add(self, text: str, more_lines: int = 0) -> None:
        self.findings.append(Finding(self.name, self.getpos()[0] + more_lines, text))


def _is_text(text: str) -> bool:
    words = re.findall(r"[^\W\d_]{2,}", text)
    return any(word not in NEUTRAL for word in words)

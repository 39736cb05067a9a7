"""Shares and times become text in exeml_site/lib/display.py and static/js/display.js alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOMES = {"exeml_site/lib/display.py", "static/js/display.js"}
# The manifest’s format asks for its own; the console shows the time of a log line, a backup is named by its.
OWN_TIMES = {
    "projects/datasets/publish.py",
    "projects/backup/schedule.py",
    "exeml_site/supervisor/console.py",
}
# 100 * share in a format, a format's own percent, three decimals of a metric, and JavaScript's rounding.
SHARES = re.compile(
    r"\{[^{}]*:[^{}]*\.\d+%\}"
    r"|\{100 ?\* ?[^{}]*:\.\d+f\} ?%"
    r"|:\.\df\} ?%"
    r"|\b(share|accuracy|precision|recall|f1|low|high|rate|metric)\b[^{}]*:\.3f\}"
    r"|100 \* [^;]*toFixed"
    r"|\|floatformat[^}]*\}\} ?%"
)
TIMES_IN_TEMPLATES = re.compile(r"\|\s*(date|time|naturaltime|naturalday|timesince|timeuntil)\b|\{% now ")
TIMES_IN_PYTHON = re.compile(r"%[YmdH][-:]%|strftime\(")


def files(*patterns: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text()


def lines_with(what: re.Pattern[str], found: Iterator[tuple[str, str]], homes: set[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in found
        if name not in homes
        for number, line in enumerate(text.splitlines(), start=1)
        if what.search(line)
    ]


def test_shares_are_rounded_in_one_place() -> None:
    code = files(
        "exeml_site/**/*.py", "projects/**/*.py", "training/**/*.py", "templates/**/*.*", "static/js/*.js"
    )
    assert lines_with(SHARES, code, HOMES) == []


def test_the_rule_of_shares_finds_what_it_is_for() -> None:
    for line in (
        'f"{share:.1%}"',
        'f"{100 * accuracy.value:.1f} %"',
        'f"{metric.value:.3f}"',
        "`${(100 * share).toFixed(1)} %`",
        "{{ rate|floatformat:1 }} %",
    ):
        assert SHARES.search(line), line


def test_times_are_formatted_in_one_place() -> None:
    assert lines_with(TIMES_IN_TEMPLATES, files("templates/**/*.html", "templates/**/*.jinja"), set()) == []
    code = files("exeml_site/**/*.py", "projects/**/*.py", "training/**/*.py")
    assert lines_with(TIMES_IN_PYTHON, code, HOMES | OWN_TIMES) == []

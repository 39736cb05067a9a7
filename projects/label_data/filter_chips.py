"""The active filters of Label Data as chips, and the choices that the filter form offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.utils.text import Truncator
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.display import day_text, whole_percent
from projects.images.query import FILTERS, SIZE_TEXT, TABS, Query, is_set
from projects.label_data.rows import LabelRow
from projects.models import OpinionState, Project, Split
from projects.quality import issues

SPLIT_CHOICES: dict[str, Any] = {**dict(Split.choices), "none": gettext_lazy("Not split yet")}


@dataclass(frozen=True)
class FilterChip:
    """An active filter. `address` is the query string without it."""

    text: str
    address: str
    colour: int | None = None


def chips(query: Query, labels: Sequence[LabelRow], people: dict[int, str]) -> list[FilterChip]:
    labels_by_id = {row.label.pk: row.label for row in labels}
    active = []
    for name in FILTERS:
        value = getattr(query, name)
        if not is_set(value) or name == "mine":  # the button “For me” shows that
            continue
        label = labels_by_id.get(value) if name in ("label", "notlabel", "suggestion") else None
        text = _describe(name, value, label.name if label else gettext("a deleted label"), people)
        active.append(FilterChip(text, query.without(name), label.colour if label else None))
    if query.sort == "similar":
        active.append(FilterChip(gettext("similar to one image"), query.first_page(sort="", like=None)))
    return active


def describe_query(query: Query, project: Project) -> str:
    """The tab and the active filters in words: “Labeled: tulips, Test”."""
    rows = [LabelRow(label, 0) for label in project.labels.all()]
    texts = [chip.text for chip in chips(query, rows, usernames_of(project))]
    texts += [gettext("assigned to me")] if query.mine else []
    tab = str(TABS[query.tab])
    return f"{tab}: {', '.join(texts)}" if texts else tab


def _describe(name: str, value: Any, label: str, people: dict[int, str]) -> str:
    texts: dict[str, Callable[[], str]] = {
        "label": lambda: label,
        "notlabel": lambda: gettext("not %(label)s") % {"label": label},
        "suggestion": lambda: gettext("suggested %(label)s") % {"label": label},
        "split": lambda: str(SPLIT_CHOICES[value]),
        "by": lambda: gettext("labeled by %(person)s") % {"person": people.get(value) or gettext("somebody")},
        "since": lambda: gettext("labeled since %(day)s") % {"day": day_text(value)},
        "until": lambda: gettext("labeled until %(day)s") % {"day": day_text(value)},
        "q": lambda: gettext("name contains “%(text)s”") % {"text": Truncator(value).chars(30)},
        "size": lambda: str(SIZE_TEXT[value]),
        "above": lambda: (
            gettext("suggested with at least %(share)s confidence") % {"share": whole_percent(value)}
        ),
        "below": lambda: (
            gettext("suggested with at most %(share)s confidence") % {"share": whole_percent(value)}
        ),
        "hard": lambda: gettext("hard example"),
        "group": lambda: gettext("duplicates of one image"),
        "check": lambda: str(issues.ISSUE_BY_NAME[value].title),
        "opinion": lambda: str(OpinionState(value).label),
        "imported": lambda: gettext("from import no. %(number)s") % {"number": value},
        "metadata": lambda: describe_value(value),
        "mine": lambda: gettext("assigned to me"),
    }
    return texts[name]()


def describe_value(text: str) -> str:
    """“person: anna” of `person:anna`, “no person” of `person:`."""
    column, _, value = text.partition(":")
    missing = gettext("no %(column)s") % {"column": column}
    return Truncator(f"{column}: {value}" if value else missing).chars(60)


def usernames_of(project: Project) -> dict[int, str]:
    """User id → username of the team's members."""
    members = User.objects.filter(memberships__team=project.team_id).order_by("username")
    return dict(members.values_list("pk", "username"))

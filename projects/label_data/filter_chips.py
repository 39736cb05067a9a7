"""The active filters of Label Data as chips, and the choices that the filter form offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.utils.text import Truncator

from projects.images.query import FILTERS, SIZE_TEXT, TABS, Query
from projects.label_data.rows import LabelRow
from projects.models import OpinionState, Project, Split
from projects.quality import issues

SPLIT_CHOICES = {**dict(Split.choices), "none": "Not split yet"}


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
        if value in (None, "", False) or name == "mine":  # the button “For me” shows that
            continue
        label = labels_by_id.get(value) if name in ("label", "notlabel", "suggestion") else None
        text = _describe(name, value, label.name if label else "a deleted label", people)
        active.append(FilterChip(text, query.without(name), label.colour if label else None))
    if query.sort == "similar":
        active.append(FilterChip("similar to one image", query.first_page(sort="", like=None)))
    return active


def describe_query(query: Query, project: Project) -> str:
    """The tab and the active filters in words: “Labeled: tulips, Test”."""
    rows = [LabelRow(label, 0) for label in project.labels.all()]
    texts = [chip.text for chip in chips(query, rows, usernames_of(project))]
    texts += ["assigned to me"] if query.mine else []
    tab = TABS[query.tab]
    return f"{tab}: {', '.join(texts)}" if texts else tab


def _describe(name: str, value: Any, label: str, people: dict[int, str]) -> str:
    texts: dict[str, Callable[[], str]] = {
        "label": lambda: label,
        "notlabel": lambda: f"not {label}",
        "suggestion": lambda: f"suggested {label}",
        "split": lambda: SPLIT_CHOICES[value],
        "by": lambda: f"labeled by {people.get(value, 'somebody')}",
        "since": lambda: f"labeled since {value}",
        "until": lambda: f"labeled until {value}",
        "q": lambda: f"name has “{Truncator(value).chars(30)}”",
        "size": lambda: SIZE_TEXT[value],
        "above": lambda: f"suggested with at least {round(100 * value)} % confidence",
        "below": lambda: f"suggested with at most {round(100 * value)} % confidence",
        "hard": lambda: "hard example",
        "group": lambda: "duplicates of one image",
        "check": lambda: issues.ISSUE_BY_NAME[value].title,
        "opinion": lambda: OpinionState(value).label,
        "imported": lambda: f"from import no. {value}",
        "metadata": lambda: describe_value(value),
        "mine": lambda: "assigned to me",
    }
    return texts[name]()


def describe_value(text: str) -> str:
    """“person: anna” of `person:anna`, “no person” of `person:`."""
    column, _, value = text.partition(":")
    return Truncator(f"{column}: {value}" if value else f"no {column}").chars(60)


def usernames_of(project: Project) -> dict[int, str]:
    """User id → username of the team's members."""
    members = User.objects.filter(memberships__team=project.team_id).order_by("username")
    return dict(members.values_list("pk", "username"))

"""The filters of Label Data in words: the chips of those that are on, and what the form offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.utils.text import Truncator

from projects.images.query import FILTERS, SIZE_TEXT, Query
from projects.label_data.rows import LabelRow
from projects.models import OpinionState, Project, Split
from projects.quality import issues

SPLIT_CHOICES = {**dict(Split.choices), "none": "On no side yet"}


@dataclass(frozen=True)
class Chip:
    """A filter that is on; `address` is the page without it."""

    words: str
    address: str
    colour: int | None = None


def chips(query: Query, labels: Sequence[LabelRow], people: dict[int, str]) -> list[Chip]:
    named = {row.label.pk: row.label for row in labels}
    found = []
    for name in FILTERS:
        value = getattr(query, name)
        if value in (None, "", False) or name == "mine":  # the button “For me” shows that
            continue
        label = named.get(value) if name in ("label", "notlabel", "suggestion") else None
        words = _describe(name, value, label.name if label else "a deleted label", people)
        found.append(Chip(words, query.without(name), label.colour if label else None))
    if query.sort == "similar":
        found.append(Chip("similar to one image", query.first_page(sort="", like=None)))
    return found


def _describe(name: str, value: Any, label: str, people: dict[int, str]) -> str:
    words: dict[str, Callable[[], str]] = {
        "label": lambda: label,
        "notlabel": lambda: f"not {label}",
        "suggestion": lambda: f"suggested {label}",
        "split": lambda: SPLIT_CHOICES[value],
        "by": lambda: f"labeled by {people.get(value, 'somebody')}",
        "since": lambda: f"labeled since {value}",
        "until": lambda: f"labeled until {value}",
        "q": lambda: f"name has “{Truncator(value).chars(30)}”",
        "size": lambda: SIZE_TEXT[value],
        "above": lambda: f"suggestion at least {round(100 * value)} % sure",
        "below": lambda: f"suggestion at most {round(100 * value)} % sure",
        "hard": lambda: "hard example",
        "group": lambda: "copies of one picture",
        "check": lambda: issues.ISSUE_BY_NAME[value].title,
        "opinion": lambda: OpinionState(value).label,
        "imported": lambda: f"imported by no. {value}",
        "mine": lambda: "given to me",
    }
    return words[name]()


def usernames_of(project: Project) -> dict[int, str]:
    """Who may have labeled, by id: the team's members."""
    members = User.objects.filter(memberships__team=project.team_id).order_by("username")
    return dict(members.values_list("pk", "username"))

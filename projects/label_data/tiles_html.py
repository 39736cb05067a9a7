"""The HTML of what Label Data holds by the hundred: tiles and label rows.

A template takes ten times as long for these, and twenty labelers at once wait for it. Whatever people typed
goes through `escape`; everything else is written here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from html import escape

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from heroicons.templatetags.heroicons import heroicon_micro

from projects.label_data.rows import LabelRow, Tile
from projects.models import Label, Project

SWAP_PAGE = 'hx-target="#bench" hx-swap="outerHTML" hx-push-url="true"'
SWAP_DIALOG = 'hx-target="#label-dialog-body" hx-swap="innerHTML"'
TOOL_LINK = '<a class="button button-quiet button-small button-icon" href="{url}" hx-get="{url}" {swap} '


def render_tiles(shown: Iterable[Tile]) -> SafeString:
    return mark_safe("".join(map(_render_tile, shown)))


def _render_tile(tile: Tile) -> str:
    image = tile.image
    labels, name = tile.labels, escape(image.name)
    proposed = ""
    if tile.suspected_label and labels:
        proposed = f' data-suggestion="{tile.suspected_label.pk}" data-percent="{tile.suspected_percent}"'
    elif tile.suggestion and not labels:
        proposed = f' data-suggestion="{tile.suggestion.pk}" data-percent="{tile.percent}"'
    return (
        f'<div class="tile" role="option" tabindex="-1" aria-selected="false" id="image-{image.pk}"'
        f' data-image="{image.pk}" data-labels="{tile.label_ids}" data-file="{tile.file_url}"'
        f' data-size="{image.size_bytes}" data-width="{image.width}" data-height="{image.height}"{proposed}'
        f' title="{name}"><img src="{tile.thumbnail_url}" alt="{escape(tile.alt_text)}" width="160"'
        f' height="160" loading="lazy" decoding="async" draggable="false">{_tile_chips(tile)}</div>'
    )


def _tile_chips(tile: Tile) -> str:
    if tile.days_left is not None:
        days = "1 day" if tile.days_left == 1 else f"{tile.days_left} days"
        return f'<span class="tile-chip">{days} left</span>'
    chips = "".join(
        f'<span class="tile-chip"><i class="dot label-{label.colour}"></i>'
        f'<span class="cut">{_escaped_name(label)}</span></span>'
        for label in tile.labels
    )
    if tile.labels and tile.suspected_label:
        name = _escaped_name(tile.suspected_label)
        chips += (
            f'<span class="tile-chip tile-doubt" title="Looks like {name}">'
            f'<span class="cut">{name}?</span> {tile.suspected_percent} %</span>'
        )
    elif tile.suggestion and not tile.labels:
        chips = (
            f'<span class="tile-chip tile-suggested"><i class="dot label-{tile.suggestion.colour}"></i>'
            f'<span class="cut">{_escaped_name(tile.suggestion)}</span> {tile.percent} %</span>'
        )
    return f'<span class="tile-labels">{chips}</span>' if chips else ""


def _escaped_name(label: Label) -> str:
    """Escaped once for each label of an answer: the same few names stand on hundreds of tiles."""
    known: str | None = label.__dict__.get("_escaped")
    if known is None:
        known = label.__dict__["_escaped"] = escape(label.name)
    return known


class LabelRowRenderer:
    """Rows of All Labels; the addresses are resolved once for all of them."""

    def __init__(self, project: Project, here: str, current: Label | None, *, can_label: bool) -> None:
        self._can_label, self._current = can_label, current
        self._grid = reverse("label_data", args=[project.pk])
        self._here = escape(here)
        self._labels = reverse("label_list", args=[project.pk])

    def row(self, row: LabelRow) -> SafeString:
        label, name = row.label, _escaped_name(row.label)
        address = f"{self._grid}?tab=labeled&amp;label={label.pk}"
        current = ' aria-current="true"' if label == self._current else ""
        no_key = "" if label.hot_key else ' class="no-key"'
        images = "1 image" if row.count == 1 else f"{row.count} images"
        return mark_safe(
            f'<li class="label-row" data-label="{label.pk}" data-name="{name}"'
            f' data-colour="{label.colour}" data-key="{label.hot_key}">'
            f'<kbd{no_key} aria-hidden="true">{label.hot_key}</kbd>'
            f'<a class="label-name" href="{address}" hx-get="{address}" {SWAP_PAGE}'
            f' title="Show the images labeled {name}"{current}><span class="dot label-{label.colour}"></span>'
            f'<span class="cut">{name}</span></a>'
            f'<span class="label-count tabular" title="{images}">{row.count:,}</span>'
            f"{self._tools(label, name) if self._can_label else ''}</li>"
        )

    def _tools(self, label: Label, name: str) -> str:
        base, here = f"{self._labels}{label.pk}", self._here
        rename = TOOL_LINK.format(
            url=f"{base}/rename/?{here}", swap='hx-target="#all-labels" hx-swap="outerHTML"'
        )
        edit = TOOL_LINK.format(url=f"{base}/edit/?{here}", swap=SWAP_DIALOG)
        delete = TOOL_LINK.format(url=f"{base}/delete/?{here}", swap=SWAP_DIALOG)
        return (
            f'<span class="label-tools">'
            f'{rename}aria-label="Rename {name}" title="Rename">{_icon("pencil")}</a>'
            f'{edit}aria-label="Colour, key, order and merging of {name}" title="Colour, key, order, merge">'
            f"{_icon('adjustments-horizontal')}</a>"
            f'{delete}aria-label="Delete the label {name}" title="Delete the label">{_icon("trash")}</a>'
            f"</span>"
        )


def render_options(choices: Iterable[tuple[object, str]], chosen: object) -> SafeString:
    """The options of a select; keys are ours, words may be people's."""
    rows = (
        f'<option value="{escape(str(key))}"{" selected" if key == chosen else ""}>{escape(words)}</option>'
        for key, words in choices
    )
    return mark_safe("".join(rows))


@cache
def _icon(name: str) -> str:
    return str(heroicon_micro(name, aria_hidden="true"))

"""The actions on deleted rows: one brings them back, one removes them for good, after a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from exeml_site.lib.errors import Refused


def purge_chosen(
    page: ModelAdmin[Any],
    request: HttpRequest,
    rows: QuerySet[Any],
    purge: Callable[[Any], bool],
    done: str = "Purged",
) -> HttpResponse | None:
    """Ask, then call `purge(row)` for each: true where the row was a deleted one and goes.

    It raises Refused with the reason where something needs the row.
    """
    chosen = list(rows)
    if "confirmed" not in request.POST:
        context = {
            **page.admin_site.each_context(request),
            "title": f"Purge {page.opts.verbose_name_plural}?",
            "opts": page.opts,
            "rows": [(row.pk, _name(row)) for row in chosen if row.deleted_at],
            "kept": [row for row in chosen if not row.deleted_at],
            "action": request.POST["action"],
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/operators/confirm_purge.html", context)
    for row in chosen:
        name = _name(row)
        try:
            is_purged = _purge_one(page, request, row, purge)
        except Refused as refused:
            page.message_user(request, f"Not purged: {name}. {refused}", messages.ERROR)
            continue
        text, level = (done, messages.SUCCESS) if is_purged else ("Not deleted, so kept", messages.WARNING)
        page.message_user(request, f"{text}: {name}.", level)
    return None


def _purge_one(page: ModelAdmin[Any], request: HttpRequest, row: Any, purge: Callable[[Any], bool]) -> bool:
    """The log of the admin keeps the name and the key of the row."""
    entries = list(type(row)._default_manager.filter(pk=row.pk))
    if not purge(row):
        return False
    page.log_deletions(request, entries)  # type: ignore[arg-type]
    return True


def _name(row: Any) -> str:
    """With the project of what belongs to one."""
    project = getattr(row, "project", None)
    return f"{project} {row}" if project else str(row)


def restore_chosen(
    page: ModelAdmin[Any], request: Any, rows: QuerySet[Any], restore: Callable[..., bool]
) -> None:
    """Call `restore(row, by=operator)` for each: true where the row was a deleted one and comes back."""
    for row in rows:
        try:
            if restore(row, by=request.user):
                page.log_change(request, row, [{"changed": {"fields": ["deleted_at"]}}])
                page.message_user(request, f"Restored: {row}.", messages.SUCCESS)
            else:
                page.message_user(request, f"{row} was not deleted.", messages.WARNING)
        except Refused as refused:
            page.message_user(request, f"Not restored: {row}. {refused}", messages.ERROR)

"""Template tags of the Label Data page."""

from __future__ import annotations

from django import template
from django.utils.safestring import SafeString

from projects.label_data.page import LabelDataPage
from projects.label_data.rows import LabelRow

register = template.Library()


@register.simple_tag
def label_row(page: LabelDataPage, row: LabelRow) -> SafeString:
    """One row of All Labels, as HTML."""
    return page.label_row_renderer.row(row)

"""Fragments of Jinja2 within Django's templates."""

from __future__ import annotations

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.simple_tag
def include_jinja(name: str, **context: object) -> SafeString:
    """The HTML of a `.jinja` template, which sees nothing but `context`."""
    return mark_safe(render_to_string(name, context, using="jinja2"))

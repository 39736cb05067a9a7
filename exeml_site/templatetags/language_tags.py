"""Template tags about languages."""

from __future__ import annotations

from django import template

from exeml_site.languages.script_texts import script_texts_url

register = template.Library()
register.simple_tag(script_texts_url)

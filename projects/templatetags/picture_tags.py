"""The formats of pictures that are taken: for people, and for the attribute `accept` of file fields."""

from __future__ import annotations

from django import template

from projects.formats.pictures.picture_formats import ACCEPT, FORMAT_NAMES

register = template.Library()


@register.simple_tag
def picture_formats() -> str:
    return FORMAT_NAMES


@register.simple_tag
def picture_accept() -> str:
    return ACCEPT

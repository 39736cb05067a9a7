"""Formats of times for Django, by language."""

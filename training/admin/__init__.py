"""The operators' pages of flavors, training versions and services."""

from training.admin import versions

__all__ = ["versions"]

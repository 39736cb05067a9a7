"""The operators' pages of flavors, training versions and services."""

from training.admin import services, versions

__all__ = ["services", "versions"]

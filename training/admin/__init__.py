"""Admin pages of flavors, training versions and services, for operators."""

from training.admin import services, versions

__all__ = ["services", "versions"]

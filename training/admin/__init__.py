"""Admin pages of flavors, training versions, evaluations and services, for operators."""

from training.admin import evaluations, services, versions

__all__ = ["evaluations", "services", "versions"]

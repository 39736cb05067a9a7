"""Accounts whose password has to be changed (projects.workspace.initial_password)."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class InitialPassword(models.Model):
    """An account whose password was shown on a terminal or set by an operator, not chosen by its owner."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)

    def __str__(self) -> str:
        return str(self.user)

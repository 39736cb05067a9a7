"""Who has closed the guide of the first steps (training.versions.guide)."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class HiddenGuide(models.Model):
    """An account that does not see the guide."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)

    def __str__(self) -> str:
        return str(self.user)

"""The language that a person has chosen (projects.workspace.language)."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ChosenLanguage(models.Model):
    """An account whose pages do not follow the language of the browser."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)
    code = models.CharField(max_length=10)

    def __str__(self) -> str:
        return f"{self.user}: {self.code}"

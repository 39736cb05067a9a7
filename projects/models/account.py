"""What the product keeps of each account, beside Django's user."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ChosenLanguage(models.Model):
    """An account whose pages do not follow the language of the browser (projects.workspace.language)."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)
    code = models.CharField(max_length=10)

    def __str__(self) -> str:
        return f"{self.user}: {self.code}"


class HiddenGuide(models.Model):
    """An account that does not see the guide of the first steps (training.versions.guide)."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)

    def __str__(self) -> str:
        return str(self.user)


class InitialPassword(models.Model):
    """An account whose password was shown on a terminal or set by an operator, not chosen by its owner.

    It has to be changed (projects.workspace.initial_password).
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True)

    def __str__(self) -> str:
        return str(self.user)

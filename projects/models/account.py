"""What the product keeps of each account beside Django's user, and of attempts to sign in."""

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


class FailedAttempts(models.Model):
    """Attempts to sign in, or calls with a wrong token, that one counter has seen since its window began."""

    class Kind(models.TextChoices):
        ACCOUNT = "account", "An account, from everywhere"  # not translated: for the admin
        ACCOUNT_ADDRESS = "pair", "An account, from one address"  # not translated: for the admin
        BROWSER = "browser", "An account, from a browser that it knows"  # not translated: for the admin
        ADDRESS = "address", "An address, to all accounts"  # not translated: for the admin
        TOKENS = "tokens", "Wrong tokens from one address"  # not translated: for the admin
        SECOND = "second", "Second factor of an account"  # not translated: for the admin
        MAILS = "mails", "Mails asked for from one address"  # not translated: for the admin

    kind = models.CharField(max_length=8, choices=Kind.choices)
    key = models.CharField(
        max_length=64, unique=True, editable=False
    )  # a hash: people type passwords as names
    who = models.CharField("who or where", max_length=200, blank=True)  # not translated: for the admin
    count = models.PositiveIntegerField("attempts", default=0)
    ends_at = models.DateTimeField("forgotten at", db_index=True)

    class Meta:
        verbose_name = "counter of failed attempts to sign in"  # not translated: for the admin
        verbose_name_plural = "failed attempts to sign in"  # not translated: for the admin
        ordering = ["-count", "-ends_at"]

    def __str__(self) -> str:
        who = self.who or "no such account"  # not translated: for the admin
        return f"{self.get_kind_display()}: {who}"

"""Counters of wrong passwords and tokens (projects.workspace.login_throttle)."""

from __future__ import annotations

from django.db import models


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

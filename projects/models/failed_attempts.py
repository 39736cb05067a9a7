"""Counters of wrong passwords and tokens (projects.workspace.login_throttle)."""

from __future__ import annotations

from django.db import models


class FailedAttempts(models.Model):
    """Attempts to sign in, or calls with a wrong token, that one counter has seen since its window began."""

    class Kind(models.TextChoices):
        ACCOUNT = "account", "An account, from everywhere"
        ACCOUNT_ADDRESS = "pair", "An account, from one address"
        BROWSER = "browser", "An account, from a browser that it knows"
        ADDRESS = "address", "An address, to all accounts"
        TOKENS = "tokens", "Wrong tokens from one address"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    key = models.CharField(
        max_length=64, unique=True, editable=False
    )  # a hash: people type passwords as names
    who = models.CharField("who or where", max_length=200, blank=True)
    count = models.PositiveIntegerField("attempts", default=0)
    ends_at = models.DateTimeField("forgotten at", db_index=True)

    class Meta:
        verbose_name = verbose_name_plural = "failed attempts to sign in"
        ordering = ["-count", "-ends_at"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.who or 'no such account'}"

"""Tokens of services: made here, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

HINT_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Token:
    plain: str

    @property
    def hash(self) -> str:
        """sha256 in hex. A fast hash is right here: 256 random bits cannot be guessed from it."""
        return hashlib.sha256(self.plain.encode()).hexdigest()

    @property
    def hint(self) -> str:
        """The last characters, so that people can tell which token a program carries."""
        return self.plain[-HINT_LENGTH:]

    def opens(self, stored_hash: str) -> bool:
        """Compared in constant time; an empty stored hash is opened by nothing."""
        return bool(stored_hash) and hmac.compare_digest(self.hash, stored_hash)


def new_token() -> Token:
    return Token(secrets.token_urlsafe(32))

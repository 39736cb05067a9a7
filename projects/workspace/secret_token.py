"""Secrets that programs send: shown once, stored as a hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

HINT_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Token:
    plain: str

    @property
    def hash(self) -> str:
        """sha256 in hex. A fast hash is right here: 256 random bits cannot be guessed from it."""
        return hashlib.sha256(self.plain.encode(errors="surrogatepass")).hexdigest()

    @property
    def hint(self) -> str:
        """The last characters, by which people recognize a program's token."""
        return self.plain[-HINT_LENGTH:]


def new_token(prefix: str = "") -> Token:
    """A token of 256 random bits, after `prefix`."""
    return Token(prefix + secrets.token_urlsafe(32))

"""How passwords are hashed."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class SmallArgon2(Argon2PasswordHasher):
    """Argon2id with OWASP's parameters: 19 MiB. Django's own take 100 MiB, for each thread that signs in."""

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1

"""Files in S3, read and written without a connection to the database."""

from __future__ import annotations

from typing import Any

from storages.backends.s3 import S3Storage

from exeml_site.lib.outages.database import release_connection


class PooledS3Storage(S3Storage):  # type: ignore[misc]  # it has no types
    """Gives the thread's connection to the database back before each operation, which may take minutes.

    Every operation asks for `connection` or `bucket` first.
    """

    @property
    def connection(self) -> Any:
        release_connection()
        return super().connection

    @property
    def bucket(self) -> Any:
        release_connection()
        return super().bucket

"""Files in S3, read and written without a connection to the database."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError
from storages.backends.s3 import S3File, S3Storage

from exeml_site.lib.outages.database import release_connection

Result = TypeVar("Result")


class StorageTimeout(Exception):
    """The storage did not answer in time."""


def _as_outage(operation: Callable[..., Result]) -> Callable[..., Result]:
    """`operation`, whose timeouts are no OSError.

    botocore's are both, and whoever expects a file to be missing or damaged would take them for that.
    """

    @wraps(operation)
    def wrapped(*args: Any, **kwargs: Any) -> Result:
        try:
            return operation(*args, **kwargs)
        except BotoCoreError as problem:
            if isinstance(problem, OSError):
                raise StorageTimeout(str(problem)) from problem
            raise

    return wrapped


class PooledS3File(S3File):  # type: ignore[misc]  # it has no types
    """A file that is fetched when it is first read."""

    file = property(_as_outage(S3File._get_file), S3File._set_file)
    size = property(_as_outage(S3File.size.fget))
    close = _as_outage(S3File.close)


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

    @_as_outage
    def _open(self, name: str, mode: str = "rb") -> Any:
        file = super()._open(name, mode)
        file.__class__ = PooledS3File  # django-storages names its own class
        return file

    _save = _as_outage(S3Storage._save)
    delete = _as_outage(S3Storage.delete)
    exists = _as_outage(S3Storage.exists)
    listdir = _as_outage(S3Storage.listdir)
    size = _as_outage(S3Storage.size)
    get_modified_time = _as_outage(S3Storage.get_modified_time)

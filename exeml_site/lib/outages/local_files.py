"""Files in a folder, which may be another machine's, used without a connection to the database."""

from __future__ import annotations

from django.core.files.storage import FileSystemStorage

from exeml_site.lib.outages.database import release_connection


class PooledFileStorage(FileSystemStorage):
    """Gives the thread's connection back before each operation. Each asks for a path first."""

    def path(self, name: str) -> str:
        release_connection()
        return super().path(name)

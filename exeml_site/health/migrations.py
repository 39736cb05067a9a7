"""Whether the tables are those of this program: older ones are updated, newer ones are left alone."""

from __future__ import annotations

from django.db import connection
from django.db.migrations.loader import MigrationLoader

from exeml_site import __version__


def newer_data() -> str:
    """The sentence that refuses data of a newer program; empty if this program knows every migration.

    Migrations of apps that are no longer installed, and those that a squashed one replaces, do not count.
    """
    loader = MigrationLoader(connection)
    known = {*loader.disk_migrations}
    for migration in loader.disk_migrations.values():
        known.update(migration.replaces)
    unknown = sorted(
        key for key in loader.applied_migrations if key[0] in loader.migrated_apps and key not in known
    )
    if not unknown:
        return ""
    app, name = unknown[-1]
    return (
        f"The data was written by a newer version than this one ({__version__}), which does not know its "
        f"migration {app}.{name}. Start that version or a later one, or restore a backup of this version."
    )


def has_pending_migrations() -> bool:
    """Whether this program has migrations that the database does not have yet."""
    loader = MigrationLoader(connection)
    return bool({*loader.disk_migrations} - {*loader.applied_migrations})

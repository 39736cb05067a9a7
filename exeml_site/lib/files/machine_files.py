"""Files that this machine needs no more: each machine finds and removes its own, every two minutes.

These are copies of pictures that were deleted for good, on whichever machine; the copies that were not used
for longest, beyond EXEML_CACHE_GB; and what finished trainings and killed programs left.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from exeml_site.lib.files import cache

logger = logging.getLogger(__name__)

INTERVAL_S = 120
NAMES_AT_ONCE = 10_000


def begin() -> None:
    """Remove what is not needed, from now on, in a thread of this process."""
    threading.Thread(target=_run, name="machine-files", daemon=True).start()


def _run() -> None:
    clock = threading.Event()
    while not clock.wait(INTERVAL_S):
        try:
            remove_unneeded()
        except Exception as problem:  # the database or the storage is away: two minutes later again
            logger.warning("The files of this machine are cleaned up later: %s", problem)
        finally:
            connection.close()


def remove_unneeded() -> None:
    """One pass. Safe to run at any time, in any number of processes."""
    for name in settings.MACHINE_CLEANERS:
        import_string(name)()


def drop_gone() -> int:
    """Remove the copies whose rows are gone; how many. `settings.GONE_FILES` knows the rows."""
    dropped = 0
    for names in _by_first_folder():
        gone: Callable[[Sequence[str]], set[str]] = import_string(
            settings.GONE_FILES[names[0].partition("/")[0]]
        )
        dropped += cache.drop(gone(names))
    return dropped


def shrink_cache() -> int:
    """Remove the copies that were not used for longest, beyond EXEML_CACHE_GB; the bytes removed."""
    return cache.shrink(settings.EXEML_CACHE_GB * 1024**3)


def _by_first_folder() -> Iterator[Sequence[str]]:
    """The names of copies in groups of one first folder that `settings.GONE_FILES` knows."""
    folders: dict[str, list[str]] = defaultdict(list)
    for file in cache.cached_files():
        if (first := file.name.partition("/")[0]) in settings.GONE_FILES:
            folders[first].append(file.name)
    for names in folders.values():
        for start in range(0, len(names), NAMES_AT_ONCE):
            yield names[start : start + NAMES_AT_ONCE]

"""What uses the disk of this machine, measured now and then."""

from __future__ import annotations

import time

from exeml_site.lib.disk_usage import report

MAX_AGE_S = 15 * 60
_measured: dict[str, int] = {}
_measured_at = float("-inf")


def disk_usage() -> dict[str, int]:
    """Bytes of each kind of file in the data folder, measured every MAX_AGE_S: there may be 100,000 files."""
    global _measured, _measured_at
    if time.monotonic() - _measured_at > MAX_AGE_S:
        _measured = {use.kind: use.bytes for use in report().uses}
        _measured_at = time.monotonic()
    return _measured

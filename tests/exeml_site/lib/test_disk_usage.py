"""What uses the disk of a machine, by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exeml_site.lib import disk_usage


def test_every_kind_is_counted_once_and_the_largest_comes_first(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR, settings.EXEML_CACHE_GB = tmp_path, 3
    for name, size in (
        ("exeml.sqlite3", 4096),
        ("files/images/1/ab/x.png", 50_000),
        ("files/training/1/bundle/model.onnx", 200_000),
        ("work/cache/images/1/ab/x.png", 50_000),
        ("work/training-7/checkpoint/pixels.npy", 100_000),
        ("tmp/upload", 10_000),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)

    report = disk_usage.report()

    uses = {use.kind: use for use in report.uses}
    assert [use.kind for use in report.uses[:2]] == ["models", "running trainings"]
    assert uses["images"].files == 1 and 50_000 <= uses["images"].bytes < 60_000
    assert uses["copies of stored files"].limit_bytes == 3 * 1024**3
    assert (uses["queue"].bytes, uses["queue"].files) == (0, 0)
    assert report.bytes == sum(use.bytes for use in report.uses) > 414_000
    assert 0 < report.free_bytes < report.total_bytes

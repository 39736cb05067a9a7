"""Label files are read in an amount of memory that does not depend on their size."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
MB = 1024**2
# Reads the file argv[1] as argv[2] under a limit of argv[3] bytes above what the program itself has.
READ = """
import resource, sys
from contextlib import closing
import django; django.setup()
from projects.formats import label_files
from projects.transfers.file_sources import ZipSource

def memory():
    fields = open("/proc/self/status").read().split("VmSize:")[1].split()
    return int(fields[0]) * 1024

limit = memory() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
source = ZipSource(open(sys.argv[1], "rb"))
with source.open(sys.argv[2], 1 << 40) as file:
    found = label_files.identify(sys.argv[2], file)
with source.open(sys.argv[2], 1 << 40) as file:
    print(sum(len(entry.labels) for entry in label_files.read(found, file)))
"""
ROWS = {
    "table.csv": ("image,label\n", "images/train/00000001.jpg,cat" + " " * 70 + "\n"),
    "lines.jsonl": ("", '{"file_name": "00000001.jpg", "label": "cat"' + " " * 50 + "}\n"),
    "array.json": ("[", '{"image": "00000001.jpg", "label": "cat"' + " " * 50 + "},\n"),
    "a.manifest": (
        "",
        '{"source":"s3://b/1.jpg","annotation":[{"type":"modelarts/image_classification","name":"cat"}]}\n',
    ),
    "train.txt": ("", "images/train/00000001.jpg cat\n"),
}


def labels_read(archive: Path, name: str, limit_mb: int) -> int:
    """How many labels a process reads that has this much memory more than it needs by itself."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(archive), name, str(limit_mb * MB)],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "MALLOC_ARENA_MAX": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def write_archive(path: Path, name: str, size_mb: int) -> int:
    """Write an archive with a label file of this size; the number of its rows."""
    head, row = ROWS[name]
    chunk = row * 10_000
    chunks = size_mb * MB // len(chunk) + 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        file.write(head.encode())
        for number in range(chunks):
            is_last = name == "array.json" and number == chunks - 1
            file.write(chunk.encode() if not is_last else chunk.rstrip(",\n").encode() + b"]")
    return chunks * 10_000


@pytest.mark.parametrize("name", ROWS)
def test_a_label_file_of_20_mb_is_read_in_little_memory(name: str, tmp_path: Path) -> None:
    rows = write_archive(tmp_path / "a.zip", name, 20)
    assert (tmp_path / "a.zip").stat().st_size < 200_000
    assert labels_read(tmp_path / "a.zip", name, 48) == rows


def test_a_table_of_100_mb_needs_no_more_memory_than_one_of_20(tmp_path: Path) -> None:
    rows = write_archive(tmp_path / "a.zip", "table.csv", 100)
    assert labels_read(tmp_path / "a.zip", "table.csv", 48) == rows


@pytest.mark.parametrize("content", [b"a" * (20 * MB), b'{"a": "' + b"x" * (20 * MB), b"[" * (20 * MB)])
def test_a_file_without_lines_is_refused_in_little_memory(content: bytes, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    with pytest.raises(AssertionError, match=r"(LabelFile|Table)Error: "):
        labels_read(tmp_path / "a.zip", "a.csv", 200)

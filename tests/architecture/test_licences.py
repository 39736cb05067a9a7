"""docs/licences.md names the packages that requirements.txt pins."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from docs.make_licences import PAGE, REQUIREMENTS, Licence, Package, find_licence, read_sections

ROW = re.compile(r"^\| \[?([\w.-]+)\]?(?:\([^)]*\))? \| (\d[\w.]*) \| (.+?) \| (\w*) \|$", re.MULTILINE)


def test_the_page_has_every_pinned_package_with_its_version_and_no_other() -> None:
    pinned = {package for section in read_sections(REQUIREMENTS.read_text()) for package in section.packages}
    listed = {Package(name, version) for name, version, _, _ in ROW.findall(PAGE.read_text())}
    assert len(pinned) > 50
    assert listed == pinned, "run `python -m docs.make_licences`"


def test_a_package_without_a_licence_is_named_below_the_tables() -> None:
    text = PAGE.read_text()
    unnamed = sorted(name for name, _, licence, _ in ROW.findall(text) if licence == "not found")
    said = re.search(r"^No licence was found for: (.+)\.$", text, re.MULTILINE)
    assert sorted(said[1].split(", ") if said else []) == unnamed


@pytest.mark.parametrize(
    ("fields", "file", "expected"),
    [
        (["License-Expression: MIT", "License: BSD"], "", Licence("MIT", "expression")),
        (["License: BSD-3-Clause"], "", Licence("BSD-3-Clause", "field")),
        (
            ["License: Dual License", *(f"Classifier: License :: OSI Approved :: {name}" for name in "AB")],
            "",
            Licence("A, B", "classifier"),
        ),
        (
            ["License: UNKNOWN"],
            "\nApache Software License 2.0\n\nmore",
            Licence("Apache Software License 2.0", "file"),
        ),
        (["License: UNKNOWN"], "All rights reserved", Licence("", "")),
        ([], "", Licence("", "")),
    ],
)
def test_a_licence_is_read_from_the_metadata_or_a_licence_file(
    fields: list[str], file: str, expected: Licence, tmp_path: Path
) -> None:
    folder = tmp_path / "example-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", "Name: example", "Version: 1.0", *fields])
    )
    (folder / "LICENSE").write_text(file)
    (folder / "RECORD").write_text("example-1.0.dist-info/METADATA,,\nexample-1.0.dist-info/LICENSE,,\n")
    assert find_licence(metadata.PathDistribution(folder)) == expected


def test_a_requirement_without_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="numpy>2"):
        read_sections("# Numbers\nnumpy>2\n")

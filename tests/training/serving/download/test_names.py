"""Whatever a project or an image is called, a download stays what it was: its paths, commands and lines."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

from hypothesis import example, given, settings
from hypothesis import strategies as st

from training.serving.download.names import image_tag, one_line, path_name
from training.serving.download.onnx_export import DOCKERFILE, README, readme

NAMES = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            [
                *(
                    "a",
                    "..",
                    "/",
                    "\\",
                    "\n",
                    "\r\n",
                    "\x85",
                    "\u2028",
                    "'",
                    '"',
                    "`",
                    "$(id)",
                    ";",
                    "&&",
                    " ",
                    "RUN id",
                ),
                *(
                    "FROM evil",
                    "\0",
                    "\ud800",
                    "\u202e",
                    "{name}",
                    "{0}",
                    "%s",
                    "C:",
                    "~",
                    "-rf",
                    ".",
                    "é",
                    "²",
                    "İ",
                ),
            ]
        ),
        max_size=6,
    ).map("".join),
)
search = settings(max_examples=150, derandomize=True, deadline=None, database=None)


@search
@given(name=NAMES)
@example(name="..")
@example(name="-rf")
def test_a_folder_in_a_zip_stays_below_its_place(name: str) -> None:
    path = PurePosixPath(path_name(name))
    assert len(path.parts) == 1 and not path.is_absolute() and path.name not in (".", "..")
    assert shlex.split(path.name) == [path.name] and not path.name.startswith("-")
    assert path.name.isascii() and len(path.name) <= 100


@search
@given(name=NAMES)
def test_a_name_adds_no_line_and_no_command(name: str) -> None:
    text = readme(name, 2, "90.0 %")
    assert len(text.splitlines()) == len(README.splitlines())
    command = next(line for line in text.splitlines() if "docker build" in line)
    tag = image_tag(name)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", tag)
    assert command.split("docker build")[1] == f" -t {tag} . && docker run -p 8080:8080 -e TOKEN=secret {tag}"


@search
@given(name=NAMES)
def test_a_line_of_text_is_one_line_that_can_be_written(name: str) -> None:
    assert one_line(name).isprintable() and len(one_line(name).splitlines()) <= 1
    one_line(name).encode()


def test_the_dockerfile_carries_no_name() -> None:
    assert "{" not in DOCKERFILE and DOCKERFILE.isascii()

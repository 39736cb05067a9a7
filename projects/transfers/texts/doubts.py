"""What a person should look at before an import: stored as a name with its values, read as a sentence.

The job that finds a doubt does not know who reads it: the sentence is made where it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count
from projects.formats.encodings import CHOICES

Doubt = dict[str, Any]  # `name`: a key of SENTENCES; `number` of images or other things; `values`

SENTENCES: dict[str, Callable[[int], str]] = {
    "names_encoding": lambda _: gettext("The encoding of the file names was guessed: %(encoding)s."),
    "file_encoding": lambda _: gettext("The encoding of “%(file)s” was guessed: %(encoding)s."),
    "texts_encoding": lambda _: gettext(
        "The encoding of the text files beside the images was guessed: check the labels."
    ),
    "boxes": lambda _: gettext(
        "The text files beside the images hold boxes or outlines. They are not imported as labels."
    ),
    "unused_file": lambda _: gettext("“%(file)s” is not used as a label file."),
    "guessed_columns": lambda _: gettext("The columns of “%(file)s” were guessed."),
    "unlisted": lambda images: ngettext(
        "%(count)s image in no label file: imported without a label.",
        "%(count)s images in no label file: imported without a label.",
        images,
    ),
    "rows": lambda rows: ngettext(
        "%(count)s row about an image that is neither in this import nor in the project.",
        "%(count)s rows about images that are neither in this import nor in the project.",
        rows,
    ),
    "conflicts": lambda images: ngettext(
        "%(count)s image with different labels in two label files: imported without a label.",
        "%(count)s images with different labels in two label files: imported without a label.",
        images,
    ),
    "impossible": lambda images: ngettext(
        "%(count)s image with labels that this project does not allow: imported without a label.",
        "%(count)s images with labels that this project does not allow: imported without a label.",
        images,
    ),
    "folders": lambda _: gettext(
        "The folders %(names)s are not labels. If they are people, cameras or lots, name a column for them"
        " below."
    ),
    "more_folders": lambda folders: ngettext(
        "The folders %(names)s and %(count)s more are not labels. If they are people, cameras or lots, name a"
        " column for them below.",
        "The folders %(names)s and %(count)s more are not labels. If they are people, cameras or lots, name a"
        " column for them below.",
        folders,
    ),
    "columns": lambda _: gettext("A project can have %(count)s columns of metadata. Left out: %(names)s."),
    "spellings": lambda _: gettext("%(names)s differ only in upper and lower case. They become one label."),
    "tests_in_folders": lambda images: ngettext(
        "%(count)s image in folders called %(names)s: choose below whether to keep it as a test set.",
        "%(count)s images in folders called %(names)s: choose below whether to keep them as a test set.",
        images,
    ),
    "tests": lambda images: ngettext(
        "%(count)s image marked “test”: choose below whether to keep it as a test set.",
        "%(count)s images marked “test”: choose below whether to keep them as a test set.",
        images,
    ),
}


def doubt(
    name: str, number: int = 0, *, names: Sequence[str] = (), file: str = "", encoding: str = ""
) -> Doubt:
    """A doubt as JSON. `names`: folders, columns or labels; `encoding`: a key of `encodings.CHOICES`."""
    return {"name": name, "number": number, "names": list(names), "file": file, "encoding": encoding}


def sentence_of(found: Mapping[str, Any]) -> str:
    return SENTENCES[found["name"]](found["number"]) % {
        "count": count(found["number"]),
        "names": ", ".join(f"“{name}”" for name in found["names"]),
        "file": found["file"],
        "encoding": CHOICES.get(found["encoding"], found["encoding"]),
    }

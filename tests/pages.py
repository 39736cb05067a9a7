"""Pages as the tests read them."""

from __future__ import annotations

import re

from django.http import HttpResponseBase


def html_of(answer: HttpResponseBase) -> str:
    """The HTML of an answer, however its template is broken into lines.

    A run of whitespace is one blank; there is none behind an opening tag or before a closing one.
    """
    text = re.sub(r"\s+", " ", answer.content.decode()).strip()  # type: ignore[attr-defined]
    return re.sub(r"(<[a-zA-Z][^<>]*>) | (?=</)", r"\1", text).replace(" >", ">")

"""Why a picture is refused, in the language of the reader."""

from __future__ import annotations

import pytest
from django.utils.translation import override

from projects.formats.pictures import picture_formats
from projects.formats.pictures.picture_formats import FORMAT_NAMES, PictureRefused, open_picture
from projects.formats.pictures.refusals import KINDS, SENTENCES, format_names, refusal_text


def test_every_sentence_and_kind_is_marked() -> None:
    formats = picture_formats
    sentences = {formats.NOT_TAKEN, formats.DAMAGED, formats.TOO_LARGE, formats.TOO_MANY_PIXELS}
    assert sentences == set(SENTENCES)
    kinds = {*formats._STARTS, *(kind for *_, kind in formats._INSIDE), formats.CAMERA_RAW, formats.MEDIA}
    rest = {formats._kind(content) for content in (b"<svg>", b"<html>", b"nonsense")}
    assert kinds | rest == set(KINDS)


@pytest.mark.parametrize("content", [b"%PDF", b"\xff\xd8\xff", b"nonsense"])
def test_the_english_text_is_that_of_the_error(content: bytes) -> None:
    with pytest.raises(PictureRefused) as refused:
        open_picture(content, 50)
    assert refusal_text(refused.value) == str(refused.value)


def test_numbers_and_names_read_as_in_the_language() -> None:
    refused = PictureRefused(picture_formats.TOO_LARGE, megapixels=1234, most=50.0)
    assert "1,234 megapixels; at most 50 megapixels" in str(refused) == refusal_text(refused)
    with override("de"):
        assert "1.234" in refusal_text(refused)
    assert format_names() == FORMAT_NAMES

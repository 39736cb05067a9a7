"""HTTP responses with the file of an image or its thumbnail, which browsers cache forever."""

from __future__ import annotations

from typing import TypeVar

from django.core.files.storage import default_storage
from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.utils.cache import patch_cache_control

from projects.formats.pictures.picture_formats import FORMATS
from projects.images.rendition import shown_file
from projects.images.thumbnail import stored_thumbnail, thumbnail_of
from projects.models import Image

Response = TypeVar("Response", bound=HttpResponseBase)


def shown_response(image: Image) -> FileResponse:
    """The picture as every browser shows it: the uploaded file, or a rendition. Raises FileNotFoundError."""
    shown = shown_file(image)
    return _file(shown.name, shown.content_type, image)


def original_response(image: Image) -> FileResponse:
    """The uploaded file, byte by byte. Raises FileNotFoundError."""
    return _file(image.file_name, FORMATS[image.format].content_type, image)


def stored_thumbnail_response(image: Image) -> HttpResponse | None:
    """The thumbnail, without any query; None where there is none yet."""
    content = stored_thumbnail(image)
    return _thumbnail(content) if content else None


def thumbnail_response(image: Image) -> HttpResponse:
    """The thumbnail, which is made where there is none. Raises ImageRefused, OSError."""
    return _thumbnail(thumbnail_of(image))


def _thumbnail(content: bytes) -> HttpResponse:
    return _cached(HttpResponse(content, content_type="image/webp"))


def _file(stored: str, content_type: str, image: Image) -> FileResponse:
    file = default_storage.open(stored)
    return _cached(FileResponse(file, content_type=content_type, filename=image.name))


def _cached(response: Response) -> Response:
    """The response, which browsers cache forever: content never changes under its URL."""
    patch_cache_control(response, private=True, max_age=31_536_000, immutable=True)
    return response

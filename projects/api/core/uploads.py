"""Files of a form with the folders of their names, which Django cuts off."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import TooManyFilesSent
from django.core.files.uploadhandler import FileUploadHandler
from django.http import QueryDict
from django.http.multipartparser import MultiPartParser
from django.utils.datastructures import MultiValueDict

from projects.api.core.access import ApiRequest
from projects.api.core.problems import invalid_field

NAMELESS = "unnamed"  # of a file whose name has nothing but dots and slashes
MAX_FILES = 100  # of a call: DATA_UPLOAD_MAX_NUMBER_FILES of Django


class _PathParser(MultiPartParser):
    """Gives every file its name with folders as `path`."""

    path = ""
    _files: MultiValueDict[str, Any]

    def sanitize_file_name(self, file_name: str) -> str | None:
        self.path = file_name.replace("\\", "/")
        return super().sanitize_file_name(file_name) or NAMELESS  # else Django leaves the file out, silently

    def handle_file_complete(self, old_field_name: str, counters: list[int]) -> None:
        super().handle_file_complete(old_field_name, counters)
        self._files.getlist(old_field_name)[-1].path = self.path


class _PathHandler(FileUploadHandler):
    """Lets `_PathParser` read the body; the other handlers store the files as usual."""

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: str | None = None
    ) -> tuple[QueryDict, MultiValueDict[str, Any]]:
        assert self.request is not None
        others = [handler for handler in self.request.upload_handlers if handler is not self]
        return _PathParser(META, input_data, others, encoding or "utf-8").parse()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None


def with_paths(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of an operation that reads `request.FILES`: below its access decorator, above `once`.

    Each file has its whole name as `path`. More than MAX_FILES of them are refused.
    """

    @wraps(operation)
    def reading(request: ApiRequest, *args: Any, **kwargs: Any) -> Any:
        request.upload_handlers.insert(0, _PathHandler(request))
        try:
            request.FILES  # noqa: B018  # reads the body
        except TooManyFilesSent as error:
            raise invalid_field("files", f"A call carries at most {MAX_FILES} files.") from error
        return operation(request, *args, **kwargs)

    return reading

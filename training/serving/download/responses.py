"""Files of a version as responses, named after the project and the version."""

from __future__ import annotations

from typing import TypeVar

from django.core.files.storage import default_storage
from django.http import FileResponse, HttpResponseBase, StreamingHttpResponse

from projects import audit
from training.models import TrainingVersion
from training.serving.download import archive, onnx_export
from training.serving.download.names import path_name

Response = TypeVar("Response", bound=HttpResponseBase)


def archive_response(version: TrainingVersion) -> StreamingHttpResponse:
    """The whole version as a zip, made while it is sent."""
    response = StreamingHttpResponse(archive.build_archive(version), content_type="application/zip")
    return as_file(version, response, ".zip")


def onnx_response(version: TrainingVersion) -> FileResponse:
    """The ONNX export. Raises FileNotFoundError if there is none, or one with earlier answer settings."""
    name = onnx_export.stored_name(version)
    if version.export.get("state") != "made":
        raise FileNotFoundError(name)
    response = FileResponse(default_storage.open(name), content_type="application/zip")
    return as_file(version, response, "-onnx.zip")


def as_file(version: TrainingVersion, response: Response, ending: str) -> Response:
    """The response as a download, which the audit log notes."""
    name = f"{path_name(f'{version.project.name}-{version.name}')}{ending}"
    audit.record_download(version.project, name)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response

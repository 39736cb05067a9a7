"""Exports as responses, which are made while they are sent."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import StreamingHttpResponse

from projects import audit
from projects.models import Project
from projects.transfers.export import ExportFormat, export_images
from projects.transfers.imports import PROJECT_SUFFIX
from projects.transfers.project_file import write as project_file

PROJECT_FILE_TYPE = "application/x-tar"


def export_response(
    project: Project, image_ids: Sequence[int], format: ExportFormat
) -> StreamingHttpResponse:
    """The images in the chosen format, as a file."""
    made = export_images(project, image_ids, format)
    audit.record(audit.Kind.EXPORTED, project=project, target=made.file_name, images=len(image_ids))
    answer = StreamingHttpResponse(made.pieces, content_type=made.content_type)
    answer["Content-Disposition"] = f'attachment; filename="{made.file_name}"'
    if made.size_bytes:
        answer["Content-Length"] = str(made.size_bytes)
    return answer


def project_file_response(project: Project) -> StreamingHttpResponse:
    """The whole project as one file."""
    file_name = f"{project.name}{PROJECT_SUFFIX}"
    audit.record(audit.Kind.PROJECT_EXPORTED, project=project, target=file_name)
    answer = StreamingHttpResponse(project_file.stream(project), content_type=PROJECT_FILE_TYPE)
    answer["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return answer

"""Files of a Completed version: the archive, and the ONNX export that a worker makes."""

from __future__ import annotations

from django.http import HttpResponseBase
from ninja import Router

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.downloads import file_answer
from projects.models import Project, Role, Scope
from training.api.versions import VERSION, VersionWithProgress, completed_version_of
from training.serving.download import onnx_export
from training.serving.download.responses import archive_response, onnx_response

router = Router(tags=["Training versions"])
NO_EXPORT = "There is no ONNX export now. Request it with POST, and wait until the version says “made”."


@router.get(VERSION + "/archive", openapi_extra=file_answer("application/zip", description="The archive."))
@project_call(Role.VIEWER, Scope.READ)
def get_archive(request: ApiRequest, project: Project, number: int) -> HttpResponseBase:
    """The model, its evaluation with every prediction, its dataset and a program that checks them: a zip."""
    return archive_response(completed_version_of(project, number))


@router.post(VERSION + "/onnx", response=VersionWithProgress)
@project_call(Role.VIEWER, Scope.TRAIN)
def request_onnx(request: ApiRequest, project: Project, number: int) -> VersionWithProgress:
    """Let a worker make the ONNX export. `onnx.state` of the version says when it is made."""
    version = completed_version_of(project, number)
    onnx_export.request_export(version)
    return VersionWithProgress.of(version)


@router.get(VERSION + "/onnx", openapi_extra=file_answer("application/zip", description="The ONNX export."))
@project_call(Role.VIEWER, Scope.READ)
def get_onnx(request: ApiRequest, project: Project, number: int) -> HttpResponseBase:
    """The model as an ONNX graph, with programs that run it elsewhere, as a zip."""
    try:
        return onnx_response(completed_version_of(project, number))
    except OSError as error:
        raise problems.not_found(NO_EXPORT) from error

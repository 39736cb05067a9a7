"""Writes events of the audit log. Who and where come from the request that is answered, or from the job."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from rq.job import get_current_job

from exeml_site.logs.client_address import client_address
from exeml_site.logs.lines import print_json
from exeml_site.logs.requests import current_request, request_id_of
from projects.models import AuditEvent, AuditKind, Project, Team
from projects.models.records.audit import AuditWay


def record(
    kind: AuditKind,
    *,
    project: Project | None = None,
    team: Team | None = None,
    target: object = "",
    by: User | None = None,
    **details: Any,
) -> None:
    """Append an event, in the transaction of the caller: what is rolled back did not happen.

    `by`: by default whoever is signed in; nobody in jobs and commands. `target`: what it happened to, unless
    that is the project. A project brings its team.
    """
    request = current_request()
    person = by or _signed_in(request)
    team = team or (project.team if project is not None else None)
    event = AuditEvent(
        kind=kind,
        way=_way(request),
        user_id=person.pk if person else None,
        user_name=person.get_username() if person else "",
        address=client_address(request)[:45] if request else "",
        team_id=team.pk if team else None,
        team_name=team.name if team else "",
        project_id=project.pk if project else None,
        project_name=project.name if project else "",
        target=str(target)[:255],
        details=details,
        request_id=request_id_of(request),
    )
    event.save(force_insert=True)
    if settings.AUDIT_STDOUT:
        transaction.on_commit(partial(print_json, {"audit": event.as_json()}))


def record_download(project: Project, file: str, **details: Any) -> None:
    """Append that the signed-in person downloads a file of the project."""
    record(AuditKind.DOWNLOADED, project=project, target=file, **details)


def _signed_in(request: HttpRequest | None) -> User | None:
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def _way(request: HttpRequest | None) -> AuditWay:
    if request is None:
        return AuditWay.JOB if get_current_job() else AuditWay.COMMAND
    if request.path_info.startswith("/admin/"):
        return AuditWay.ADMIN
    return AuditWay.API if request.path_info.startswith(("/v1/", "/api/")) else AuditWay.PAGE

"""django-rq's pages of queues and jobs, for operators with the permission `django_rq.admin`.

django-rq itself lets everybody with `is_staff` empty a queue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from django_rq.admin import QueueAdmin
from django_rq.models import Dashboard
from django_rq.settings import QUEUES
from django_rq.urls import get_admin_urlpatterns, get_api_urlpatterns

from projects import audit
from projects.operators.queues import retry
from projects.workspace.login_throttle import count_wrong_token

PERMISSION = "django_rq.admin"
# The pages have style sheets within them. Their scripts fail: templates/django_rq omits them.
POLICY = {"style-src": [SELF, UNSAFE_INLINE]}

View = Callable[..., HttpResponseBase]


def queue_urls() -> list[URLPattern]:
    patterns = get_api_urlpatterns()
    for pattern in patterns:
        pattern.callback = _limited(pattern.callback)
    return patterns + get_admin_urlpatterns(view_wrapper=_guarded)


def _guarded(view: View) -> View:
    """403 for operators without the permission; others are asked to sign in."""

    @csp_update(POLICY)
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        response = view(request, *args, **kwargs)
        if request.method == "POST":
            audit.record(audit.Kind.QUEUE_CHANGED, target=request.path, action=request.POST.get("action", ""))
        return response

    return admin.site.admin_view(guarded)


def _limited(view: View) -> View:
    """Wrong tokens of the statistics are counted as those of services are."""

    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.status_code != 401 or not ("Authorization" in request.headers or kwargs.get("token")):
            return response
        attempt = count_wrong_token(request)
        if not attempt.is_refused:
            return response
        error = {"error": True, "description": "Too many wrong tokens. A right one is answered at once."}
        return JsonResponse(error, status=429, headers={"Retry-After": str(attempt.wait_s)})

    return limited


admin.site.unregister(Dashboard)


@admin.register(Dashboard)
class QueuesAdmin(QueueAdmin):
    """The entry in the operators' list, which leads to /admin/rq/. The model has no table."""

    def get_urls(self) -> list[URLPattern]:
        retry_job = require_POST(self.admin_site.admin_view(self.retry_job))
        return [
            path("", self.changelist_view, name="django_rq_dashboard_changelist"),
            path("<str:queue>/<str:job_id>/retry/", retry_job, name="retry_job"),
        ]

    def retry_job(self, request: HttpRequest, queue: str, job_id: str) -> HttpResponse:
        """Put a failed job on its queue again, and return to the operators' page."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        if queue in QUEUES and retry(queue, job_id):
            audit.record(audit.Kind.JOB_RETRIED, target=job_id, queue=queue)
            messages.success(request, f"Queued again: {job_id} in “{queue}”.")
        else:
            messages.warning(request, f"Nothing changed: {job_id} is not among the failed jobs of “{queue}”.")
        return redirect(reverse("admin:index") + "#failed-jobs")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(PERMISSION)

    has_view_permission = has_delete_permission = has_change_permission

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return redirect("django_rq:home")

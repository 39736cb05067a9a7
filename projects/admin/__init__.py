"""Admin pages for people, teams, projects and images. Actions call the same functions as the pages.

Histories, manifests and files are read-only here.
"""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from projects.admin import (
    access_tokens,
    accounts,
    images,
    labels,
    machines,
    projects,
    queues,
    records,
    sign_in,
)

__all__ = [
    "access_tokens",
    "accounts",
    "images",
    "labels",
    "machines",
    "projects",
    "queues",
    "records",
    "sign_in",
]

admin.site.site_header = "exeml operators"
admin.site.site_title = "exeml operators"


def _sign_in(request: HttpRequest, extra_context: object = None) -> HttpResponse:
    """Redirect to the product's throttled sign-in page. A signed-in user without staff rights gets 403."""
    if request.user.is_authenticated:
        raise PermissionDenied
    return redirect_to_login(request.GET.get("next") or reverse("admin:index"))


def _change_password(request: HttpRequest, extra_context: object = None) -> HttpResponse:
    """Redirect to the product's page, which limits how often the current password is tried."""
    return redirect("change_password")


admin.site.login = _sign_in  # type: ignore[method-assign]
admin.site.password_change = _change_password  # type: ignore[method-assign,assignment]

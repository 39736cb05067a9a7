"""Check Data: possible issues of images and labels, and the balance of the labels."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from exeml_site.lib.http import page
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from projects.quality import look_alikes
from projects.quality.findings import issue_counts, label_balance


@project_page(Role.VIEWER)
@require_safe
def data_check(request: PageRequest, project: Project) -> HttpResponse:
    context = {
        "project": project,
        "findings": issue_counts(project),
        "balance": label_balance(project),
        "advice": look_alikes.advice(project),
        "can_manage": request.membership.role >= Role.MANAGER,
    }
    return page(request, "label_data/data_check.html", context)

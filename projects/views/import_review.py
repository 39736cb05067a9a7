"""The page before an import: what was found, what will happen, and what can be changed."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, project_page
from projects.forms.import_review import ImportReviewForm
from projects.models import Project, Role, Transfer
from projects.transfers import imports
from projects.transfers.summary import TransferSummary


@project_page(Role.LABELER)
@require_POST
def review_import(request: PageRequest, project: Project, transfer_id: int) -> HttpResponse:
    """Import with the choices of the form, or with `again` look at the files again with them."""
    transfer = get_object_or_404(Transfer, project=project, pk=transfer_id)
    address = reverse("transfer", args=[project.pk, transfer.pk])
    form = ImportReviewForm(
        request.POST, preview=transfer.report.get("preview", {}), options=transfer.options
    )
    if transfer.status == Transfer.Status.REVIEW and not form.is_valid():
        context = {
            "project": project,
            "transfer": transfer,
            "summary": TransferSummary(transfer),
            "review": form,
            "can_label": True,
        }
        return page(request, "transfers/transfer.html", context, status=422)
    if transfer.status == Transfer.Status.REVIEW:
        imports.continue_import(transfer, form.options, is_reviewed="again" not in request.POST)
    return redirect_to(request, address)

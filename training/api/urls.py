"""The addresses below /api/v1/, of projects and of training."""

from __future__ import annotations

from django.urls import path
from ninja import Router

from projects.api import (
    account,
    dataset_versions,
    final_test,
    history,
    images,
    labels,
    metadata,
    projects,
    suggestions,
    transfers,
    webhooks,
    work,
)
from projects.api import annotations as annotation_calls
from projects.api.core.api import Api
from projects.api.team import service_accounts, teams, usage
from training.api import (
    answer_settings,
    batches,
    comparison,
    document,
    downloads,
    evaluated_images,
    evaluation,
    flavors,
    monitoring,
    predictions,
    service_tokens,
    services,
    versions,
)

ROUTERS: list[Router] = [
    account.router,
    teams.router,
    service_accounts.router,
    usage.router,
    projects.router,
    transfers.router,
    dataset_versions.router,
    flavors.router,
    versions.router,
    evaluation.router,
    evaluated_images.router,
    comparison.router,
    downloads.router,
    services.router,
    answer_settings.router,
    service_tokens.router,
    predictions.router,
    monitoring.router,
    batches.router,
    images.router,
    labels.router,
    annotation_calls.router,
    metadata.router,
    final_test.router,
    history.router,
    suggestions.router,
    work.router,
    webhooks.router,
]

api = Api(
    title="exeml",
    version="1",
    docs_url=None,
    openapi_url=None,
    urls_namespace="api",
)
for router in ROUTERS:
    api.add_router("", router)

operations, app_name, _ = api.urls
urlpatterns = [path("openapi.json", document.openapi_view(api), name="openapi"), *operations]

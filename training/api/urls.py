"""The addresses below /api/v1/, of projects and of training."""

from __future__ import annotations

from ninja import Router

from projects.api import account, projects, webhooks
from projects.api.core.api import Api

ROUTERS: list[Router] = [account.router, projects.router, webhooks.router]

api = Api(
    title="exeml",
    version="1",
    description="Everything a person can do on the pages, for programs.",
    docs_url=None,
    urls_namespace="api",
)
for router in ROUTERS:
    api.add_router("", router)

urlpatterns, app_name, _ = api.urls

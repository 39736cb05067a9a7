"""All URLs of the product. Each view has an access decorator (projects.access, exeml_site.lib.http)."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from exeml_site.languages.script_texts import script_texts
from exeml_site.lib.http import public
from projects.admin.queues import queue_urls

urlpatterns = [
    path("", public(RedirectView.as_view(pattern_name="project_list")), name="home"),
    path("texts.js", script_texts, name="script_texts"),
    path("", include("projects.urls")),
    path("", include("training.urls")),
    path("api/v1/", include("training.api.urls", namespace="api")),
    path("admin/rq/", include((queue_urls(), "django_rq"))),
    path("admin/", admin.site.urls),
]

handler500 = "exeml_site.unavailable.server_error"

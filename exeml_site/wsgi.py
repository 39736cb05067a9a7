"""WSGI application."""

import os

from django.core.wsgi import get_wsgi_application
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exeml_site.settings")
application = get_wsgi_application()
application.request_class = import_string("exeml_site.bad_requests.Utf8Request")

for begin in (
    "training.serving.calls.counters.begin",
    "training.serving.calls.shadow.begin",
    "training.serving.inference.preload.begin",
):
    import_string(begin)()  # by name: models cannot be imported before the application is ready

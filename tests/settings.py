"""The product's settings over a throw-away data folder. PostgreSQL when EXEML_TEST_DATABASE_URL names one."""

import os
import tempfile

_DATA = tempfile.TemporaryDirectory(prefix="exeml-tests-")
os.environ["EXEML_DATA"] = _DATA.name
os.environ["DATABASE_URL"] = os.environ.get("EXEML_TEST_DATABASE_URL", "")
for name in ("REDIS_URL", "STORAGE_URL", "EXEML_HTTPS", "EXEML_SECRET_KEY"):
    os.environ.pop(name, None)

from exeml_site.settings import *  # noqa: E402, F403

STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}  # noqa: F405
CACHES = {**CACHES, "counts": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True

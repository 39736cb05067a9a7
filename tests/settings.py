"""The product's settings over a throw-away data folder. PostgreSQL when EXEML_TEST_DATABASE_URL names one."""

import os
import tempfile

_DATA = tempfile.TemporaryDirectory(prefix="exeml-tests-")
os.environ["EXEML_DATA"] = _DATA.name
os.environ["DATABASE_URL"] = os.environ.get("EXEML_TEST_DATABASE_URL", "")
for name in ("REDIS_URL", "STORAGE_URL", "EXEML_HTTPS", "EXEML_SECRET_KEY"):
    os.environ.pop(name, None)

# One thread for each of pytest's workers: two libraries that ask for every core take turns on it.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "EXEML_ENGINE_THREADS"):
    os.environ[name] = "1"

from exeml_site.settings import *  # noqa: E402, F403

STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}  # noqa: F405
CACHES = {**CACHES, "counts": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True

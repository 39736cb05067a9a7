"""All settings. Development needs no environment variable; invalid values raise when the program starts.

README.md documents every variable read here (a test compares the two).
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from exeml_site.languages import LANGUAGES as LANGUAGES

BASE_DIR = Path(__file__).resolve().parent.parent


def _env_int(name: str, default: int, minimum: int = 0) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = int(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {text!r}.") from error
    if value < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {value}.")
    return value


def _env_bool(name: str, default: bool) -> bool:
    text = os.environ.get(name, "").strip().lower()
    if text in {"", "0", "1", "true", "false", "yes", "no"}:
        return default if text == "" else text in {"1", "true", "yes"}
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {text!r}.")


def _env_list(name: str, default: str) -> list[str]:
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


# The product writes below this folder only.
DATA_DIR = Path(os.environ.get("EXEML_DATA") or BASE_DIR / "var").expanduser().absolute()


def _secret_key() -> str:
    """EXEML_SECRET_KEY, or a key generated once and stored in the data folder: sessions survive restarts."""
    if key := os.environ.get("EXEML_SECRET_KEY"):
        return key
    path, key = DATA_DIR / "secret-key", secrets.token_urlsafe(50)
    own = DATA_DIR / f"secret-key-{os.getpid()}"
    with suppress(OSError):  # the folder is not writable: `up` reports it
        if not path.exists():
            DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
            own.touch(mode=0o600)
            own.write_text(key)
            os.replace(own, path)  # atomic
        return path.read_text().strip()
    return key


SECRET_KEY = _secret_key()
DEBUG = _env_bool("EXEML_DEBUG", False)
# Without a list: addresses and the names of this machine (exeml_site/hosts.py), which Django cannot express.
ALLOWED_HOSTS = _env_list("EXEML_ALLOWED_HOSTS", "")
ANY_HOST, LOCAL_HOSTS = "*" in ALLOWED_HOSTS, not ALLOWED_HOSTS
ALLOWED_HOSTS = ALLOWED_HOSTS or ["*"]
CSRF_TRUSTED_ORIGINS = _env_list("EXEML_TRUSTED_ORIGINS", "")


def _networks(name: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(text, strict=False) for text in _env_list(name, "")]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be IP addresses or networks: {error}.") from error


# Proxies whose X-Forwarded-For says where a request came from (projects.workspace.login_throttle).
EXEML_TRUSTED_PROXIES = _networks("EXEML_TRUSTED_PROXIES")

# Behind a proxy that serves https: secure cookies, redirects and HSTS. Off for plain http.
HTTPS = _env_bool("EXEML_HTTPS", False)
SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _env_bool("EXEML_HSTS_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = _env_bool("EXEML_HSTS_PRELOAD", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# W005, W021: whether other hosts of the domain speak https, only the operator knows.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not HTTPS:
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]

INSTALLED_APPS = [
    "exeml_site",
    "projects",
    "training",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "csp",
    "django_htmx",
    "django_rq",
    "heroicons",
]

MIDDLEWARE = [
    "exeml_site.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "exeml_site.bad_requests.BadRequestMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "exeml_site.private_pages.PrivatePagesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "projects.workspace.language.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "exeml_site.bad_requests.BadFormMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "projects.workspace.initial_password.InitialPasswordMiddleware",
    "exeml_site.redis_unavailable.RedisUnavailableMiddleware",
]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    },
}
X_FRAME_OPTIONS = "DENY"

ROOT_URLCONF = "exeml_site.urls"
WSGI_APPLICATION = "exeml_site.wsgi.application"

TEMPLATES = [
    {
        "NAME": "django",
        "BACKEND": "exeml_site.languages.number_templates.NumberTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "projects.context.frame",
            ],
        },
    },
    {  # fragments that a page repeats by the hundred (exeml_site/jinja.py)
        "NAME": "jinja2",
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "environment": "exeml_site.jinja.environment",
            "trim_blocks": True,
            "lstrip_blocks": True,
        },
    },
]

# --- Database -----

DATABASE_URL = os.environ.get("DATABASE_URL", "")
if DATABASE_URL:
    DATABASES = {"default": dj_database_url.parse(DATABASE_URL, conn_max_age=60, conn_health_checks=True)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "exeml_site.sqlite3",
            "NAME": str(DATA_DIR / "exeml.sqlite3"),
            "CONN_MAX_AGE": 60,  # opening a connection takes longer than most queries
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": (
                    "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA cache_size=-16384;"
                    "PRAGMA mmap_size=268435456;"
                ),
            },
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: queues, and what web processes share -----

# `up` starts its own Redis on this socket unless REDIS_URL names another.
REDIS_SOCKET = DATA_DIR / "redis" / "redis.sock"
REDIS_URL = os.environ.get("REDIS_URL") or f"unix://{quote(str(REDIS_SOCKET))}?db=0"

QUEUE_SHORT = "short"  # jobs of seconds: sweeps, deployments; they never wait for a training
QUEUE_LABELING = "labeling"  # embeddings, suggestions, checks: one worker keeps the network warm
QUEUE_IMPORTS = "imports"  # archives and data sources: many small files, no network
QUEUE_GPU, QUEUE_CPU = "gpu", "cpu"
# Of its worker: pages first, then trainings, which have a limit. A step costs a fifth of a core two want.
QUEUE_NICENESS = {QUEUE_SHORT: 0, QUEUE_LABELING: 8, QUEUE_IMPORTS: 6, QUEUE_GPU: 3, QUEUE_CPU: 3}
RQ_QUEUES = {
    name: {"URL": REDIS_URL, "DEFAULT_TIMEOUT": 300, "DEFAULT_RESULT_TTL": 3600} for name in QUEUE_NICENESS
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "counts": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "counts"},
    "shared": {  # by all web processes
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "exeml",
        "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 2},
    },
}
RQ = {"COMMIT_MODE": "on_db_commit", "JOB_CLASS": "exeml_site.lib.jobs.NamedJob"}

# Job name → function. Other code names jobs, never these functions.
JOBS = {
    "train_version": "training.jobs.train_version.train",
    "rescore_version": "training.jobs.rescore.rescore",
    "embed_images": "training.assist.embed_images.embed",
    "find_similar": "training.assist.embed_images.nearest_labeled_images",
    "suggest_labels": "training.assist.suggest_labels.update_suggestions",
    "find_issues": "training.assist.find_issues.update_issues",
    "predict_unlabeled": "training.assist.predict_unlabeled.predict_waiting",
    "forecast_gains": "training.assist.forecast_gains.forecast",
    "deploy_service": "training.serving.deploy.bring_up",
    "change_service_version": "training.serving.rollout.change_over",
    "run_batch": "training.serving.batches.job.run",
    "run_evaluation": "training.jobs.selection.run",
    "export_onnx": "training.serving.download.onnx_export.make",
    "run_import": "projects.transfers.import_job.run",
    # periodic (cron.py)
    "sweep_trainings": "training.versions.recovery.sweep",
    "resume_forecasts": "training.versions.recovery.enqueue_lost_forecasts",
    "stop_expired_services": "training.serving.deploy.stop_expired",
    "resume_version_changes": "training.serving.rollout.catch_up",
    "resume_batches": "training.serving.batches.job.catch_up",
    "resume_evaluations": "training.evaluation.selections.lifecycle.catch_up",
    "delete_old_collected_calls": "training.serving.calls.feedback.forget_old",
    "delete_old_shadow_answers": "training.serving.calls.shadow.forget_old",
    "delete_old_call_counts": "training.serving.calls.counters.forget_old",
    "resume_embedding": "training.assist.embed_images.enqueue_missing_embeddings",
    "resume_imports": "projects.transfers.imports.catch_up",
    "empty_bins": "projects.images.bin.empty_bins",
    "sweep_temporary_files": "exeml_site.lib.temporary_files.sweep",
    "forget_failed_attempts": "projects.workspace.login_throttle.forget_old",
}
# Event → jobs. The app in which the event happens does not depend on the app that does the work.
JOBS_AFTER = {"images_added": ["embed_images"], "labels_changed": ["suggest_labels"]}
# Former functions → job names: jobs queued before an upgrade have the old function names.
FORMER_JOBS = {
    "training.jobs.train": "train_version",
    "training.rescoring.rescore": "rescore_version",
    "training.embedding.embed": "embed_images",
    "training.embedding.nearest_to": "find_similar",
    "training.suggesting.refresh": "suggest_labels",
    "training.inspecting.inspect": "find_issues",
    "training.foreseeing.foresee": "predict_unlabeled",
    "training.learning.foretell": "forecast_gains",
    "training.services.deploying.bring_up": "deploy_service",
    "training.services.switching.change_over": "change_service_version",
    "training.services.batching.run": "run_batch",
    "training.services.exporting.make": "export_onnx",
    "projects.transfers.running.run": "run_import",
    "training.recovery.sweep": "sweep_trainings",
    "training.services.deploying.stop_expired": "stop_expired_services",
    "training.services.switching.catch_up": "resume_version_changes",
    "training.services.batching.catch_up": "resume_batches",
    "training.services.collecting.forget_old": "delete_old_collected_calls",
    "training.services.counting.forget_old": "delete_old_call_counts",
    "training.embedding.catch_up": "resume_embedding",
    "projects.transfers.deeds.catch_up": "resume_imports",
    "projects.purging.empty_bins": "empty_bins",
}

# --- Files -----

FILES_DIR = DATA_DIR / "files"
WORK_DIR = DATA_DIR / "work"
TEMPORARY_DIR = DATA_DIR / "tmp"  # TMPDIR of the programs that `up` starts
STORAGE_URL = os.environ.get("STORAGE_URL", "")


def _file_storage(url: str) -> dict[str, object]:
    """Storage of images, manifests and bundles: a local folder, or `s3://bucket/prefix?endpoint=…&region=…`."""
    if not url:
        return {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": FILES_DIR, "base_url": None},
        }
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.hostname:
        raise ImproperlyConfigured("STORAGE_URL must look like s3://bucket/prefix?endpoint=https://host.")
    query = dict(parse_qsl(parts.query))
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": parts.hostname,
            "location": parts.path.strip("/"),
            "endpoint_url": query.get("endpoint"),
            "region_name": query.get("region"),
            "file_overwrite": True,
            "default_acl": None,
            "querystring_auth": True,
        },
    }


STORAGES = {
    "default": _file_storage(STORAGE_URL),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
FILE_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
FILE_UPLOAD_PERMISSIONS = 0o600  # folders get 0700 by the umask of manage.py

# --- Accounts -----

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "project_list"
LOGOUT_REDIRECT_URL = "sign_in"

LANGUAGE_CODE, LOCALE_PATHS = "en", [BASE_DIR / "locale"]
LANGUAGE_COOKIE_AGE, LANGUAGE_COOKIE_SECURE = 365 * 24 * 3600, HTTPS
USE_TZ = True
TIME_ZONE = os.environ.get("EXEML_TIME_ZONE") or "UTC"
FORMAT_MODULE_PATH = "exeml_site.formats"

# --- Limits of the product -----


def _source_roots(roots: list[str]) -> list[str]:
    """Check the roots of data sources: folders of the server, or `s3://bucket/prefix?endpoint=…`."""
    for root in roots:
        if not root.startswith(("/", "s3://")):
            raise ImproperlyConfigured(f"EXEML_SOURCE_ROOTS: {root!r} must begin with / or s3://.")
        query = root.partition("?")[2] if root.startswith("s3://") else ""
        options = dict(parse_qsl(query, keep_blank_values=True))
        is_endpoint = re.match("https?://|$", options.get("endpoint", ""))
        if not is_endpoint or set(options) - {"endpoint", "region"}:
            raise ImproperlyConfigured(
                f"EXEML_SOURCE_ROOTS: after the ? of {root!r} only endpoint=https://… and region=… may stand."
            )
    return roots


EXEML_MAX_PROJECTS_PER_TEAM = _env_int("EXEML_MAX_PROJECTS_PER_TEAM", 100, minimum=1)
EXEML_MAX_SERVICES_PER_TEAM = _env_int("EXEML_MAX_SERVICES_PER_TEAM", 20, minimum=1)
EXEML_MAX_IMAGE_MB = _env_int("EXEML_MAX_IMAGE_MB", 20, minimum=1)
EXEML_MAX_IMAGE_MEGAPIXELS = _env_int("EXEML_MAX_IMAGE_MEGAPIXELS", 50, minimum=1)
EXEML_MAX_IMPORT_GB = _env_int("EXEML_MAX_IMPORT_GB", 50, minimum=1)
MAX_REQUEST_BYTES = EXEML_MAX_IMPORT_GB * 1024**3 + 1024**2  # a batch comes in one request
EXEML_SOURCE_ROOTS = _source_roots(_env_list("EXEML_SOURCE_ROOTS", ""))
EXEML_METRICS_TOKEN = os.environ.get("EXEML_METRICS_TOKEN") or ""
RQ_API_TOKEN = EXEML_METRICS_TOKEN  # protects /admin/rq/metrics, the queue metrics
EXEML_BIN_DAYS = _env_int("EXEML_BIN_DAYS", 30, minimum=1)
EXEML_CURRENCY = os.environ.get("EXEML_CURRENCY") or "USD"
EXEML_ENGINE_THREADS = _env_int("EXEML_ENGINE_THREADS", 0)  # 0: all cores

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s %(message)s"}},
    "filters": {  # what bad Host headers, forms without a token and broken connections cause
        "few": {"()": "exeml_site.lib.log_limit.LineLimit", "loggers": ["django.security", "waitress"]}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["few"]}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("EXEML_LOG_LEVEL") or "INFO"},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "waitress": {"level": "WARNING"},
        "waitress.queue": {"level": "ERROR"},  # WARNING: a line for every request that waits for a thread
        "rq": {"level": "WARNING"},  # INFO logs two lines per sweep; trainings have their own log
    },
}

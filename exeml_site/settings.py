"""All settings. Development needs no environment variable; invalid values raise when the program starts.

README.md documents every variable read here and in `exeml_site.environment` (a test compares the two).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from csp.constants import NONE, SELF

from exeml_site.environment import (
    database,
    env_bool,
    env_choice,
    env_int,
    env_list,
    env_networks,
    env_path,
    env_time,
    file_storage,
    secret_key,
    source_roots,
    webhook_allowance,
)
from exeml_site.job_names import FORMER_JOBS as FORMER_JOBS
from exeml_site.job_names import GONE_FILES as GONE_FILES
from exeml_site.job_names import JOBS as JOBS
from exeml_site.job_names import JOBS_AFTER as JOBS_AFTER
from exeml_site.job_names import MACHINE_CLEANERS as MACHINE_CLEANERS
from exeml_site.job_names import NOTICE_COLLECTORS as NOTICE_COLLECTORS
from exeml_site.languages import LANGUAGES as LANGUAGES
from exeml_site.sign_in.environment import mail, oidc, remote_user_header, team_rules
from exeml_site.sign_in.ldap import ldap

BASE_DIR = Path(__file__).resolve().parent.parent

# The product writes below this folder only.
DATA_DIR = Path(os.environ.get("EXEML_DATA") or BASE_DIR / "var").expanduser().absolute()
SECRET_KEY = secret_key(DATA_DIR)
DEBUG = env_bool("EXEML_DEBUG", False)
# Without a list: addresses and the names of this machine (exeml_site/hosts.py), which Django cannot express.
ALLOWED_HOSTS = env_list("EXEML_ALLOWED_HOSTS", "")
ANY_HOST, LOCAL_HOSTS = "*" in ALLOWED_HOSTS, not ALLOWED_HOSTS
ALLOWED_HOSTS = ALLOWED_HOSTS or ["*"]
CSRF_TRUSTED_ORIGINS = env_list("EXEML_TRUSTED_ORIGINS", "")
# Where browsers find the site, for links in mails, which no request tells; empty: mails have no links.
SITE_URL = (os.environ.get("EXEML_SITE_URL") or next(iter(CSRF_TRUSTED_ORIGINS), "")).rstrip("/")
# Proxies whose X-Forwarded-For says where a request came from (exeml_site.logs.client_address).
EXEML_TRUSTED_PROXIES = env_networks("EXEML_TRUSTED_PROXIES")

# Behind a proxy that serves https: secure cookies, redirects and HSTS. Off for plain http.
HTTPS = env_bool("EXEML_HTTPS", False)
SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env_bool("EXEML_HSTS_SUBDOMAINS", False)
SECURE_HSTS_PRELOAD = env_bool("EXEML_HSTS_PRELOAD", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# W005, W021: whether other hosts of the domain speak https, only the operator knows.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not HTTPS:
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]

# Where the site lies on a host that serves other programs, too: "/exeml"; empty on a host of its own.
# Browsers also send cookies of the whole host, and the last of two with one name counts: ours differ.
PATH_PREFIX = env_path("EXEML_PATH_PREFIX")
FORCE_SCRIPT_NAME = PATH_PREFIX or None
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = LANGUAGE_COOKIE_PATH = PATH_PREFIX or "/"
if PATH_PREFIX:
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "exeml_sessionid", "exeml_csrftoken"
    LANGUAGE_COOKIE_NAME = "exeml_language"
    MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # no cookie for the whole host

INSTALLED_APPS = [
    "exeml_site",
    "allauth.account",  # before ours, which replace its admin pages
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
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
    "ninja",  # the files of its page with the documentation of the API
]

MIDDLEWARE = [
    "exeml_site.logs.requests.RequestMiddleware",
    "exeml_site.health.middleware.HealthMiddleware",  # before host and https are checked
    "exeml_site.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "exeml_site.bad_requests.BadRequestMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "exeml_site.private_pages.PrivatePagesMiddleware",
    "exeml_site.lib.outages.streams.StreamMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "projects.workspace.language.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "exeml_site.bad_requests.BadFormMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "projects.workspace.initial_password.InitialPasswordMiddleware",
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

# --- Backups: made every day where a folder is named -----

EXEML_BACKUP_DIR = os.environ.get("EXEML_BACKUP_DIR") or ""
EXEML_BACKUP_KEEP = env_int("EXEML_BACKUP_KEEP", 7, minimum=1)
EXEML_BACKUP_TIME = env_time("EXEML_BACKUP_TIME", "02:00")  # in EXEML_TIME_ZONE
# Functions that check a restored backup: given one that stores the backup's files below a folder, they return
# a sentence about what they found, or raise Refused.
BACKUP_CHECKS = ["training.serving.backup_check.check_newest_model"]

# What each app gives to a project file: instances of projects.transfers.project_file.tables.ProjectFilePart.
PROJECT_FILE_PARTS = [
    "projects.transfers.project_file.tables.PROJECT_PART",
    "training.jobs.project_file.PART",
]
# Seconds for which a web process that is stopped goes on; `/readyz` says 503 (exeml_site/web_worker.py).
DRAIN_S = env_int("EXEML_DRAIN_S", 0)

# --- Database -----

DATABASE_URL = os.environ.get("DATABASE_URL", "")
# Connections to PostgreSQL that the threads of one web process share; 0, as in workers: one for each thread.
DATABASE_POOL = env_int("EXEML_DATABASE_POOL", 0)
DATABASES = {"default": database(DATABASE_URL, DATA_DIR, DATABASE_POOL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: queues, and what web processes share -----

# `up` starts its own Redis on this socket unless REDIS_URL names another.
REDIS_SOCKET = DATA_DIR / "redis" / "redis.sock"
REDIS_URL = os.environ.get("REDIS_URL") or f"unix://{quote(str(REDIS_SOCKET))}?db=0"

QUEUE_SHORT = "short"  # jobs of seconds: sweeps, deployments; they never wait for a training
QUEUE_LABELING = "labeling"  # embeddings, suggestions, checks: one worker keeps the network warm
QUEUE_IMPORTS = "imports"  # archives and data sources: many small files, no network
QUEUE_GPU, QUEUE_CPU = "gpu", "cpu"
QUEUE_BACKUPS = "backups"  # where EXEML_BACKUP_DIR is set: a backup takes hours and must not hold up others
QUEUE_WEBHOOKS = "webhooks"  # its jobs wait for receivers, which may be slow
# Of its worker: pages first, then trainings, which have a limit. A step costs a fifth of a core two want.
QUEUE_NICENESS = {QUEUE_SHORT: 0, QUEUE_LABELING: 8, QUEUE_IMPORTS: 6, QUEUE_GPU: 3, QUEUE_CPU: 3}
QUEUE_NICENESS[QUEUE_WEBHOOKS] = 2
if EXEML_BACKUP_DIR:
    QUEUE_NICENESS[QUEUE_BACKUPS] = 9
# A Redis that hangs holds no page for long. Workers, whose commands wait for jobs, have longer times.
QUEUE_URL = f"{REDIS_URL}{'&' if '?' in REDIS_URL else '?'}socket_connect_timeout=3&socket_timeout=3"
RQ_QUEUES = {
    name: {"URL": QUEUE_URL, "DEFAULT_TIMEOUT": 300, "DEFAULT_RESULT_TTL": 3600} for name in QUEUE_NICENESS
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

# --- Files -----

FILES_DIR = DATA_DIR / "files"
WORK_DIR = DATA_DIR / "work"
TEMPORARY_DIR = DATA_DIR / "tmp"  # TMPDIR of the programs that `up` starts
STORAGE_URL = os.environ.get("STORAGE_URL", "")


STORAGES = {
    "default": file_storage(STORAGE_URL, FILES_DIR),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = f"{PATH_PREFIX}/static/"
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
PASSWORD_HASHERS = [
    "exeml_site.sign_in.password_hash.SmallArgon2",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",  # of accounts that have not signed in since
]
PASSWORD_RESET_TIMEOUT = 3600

# --- Sign-in beside passwords (docs/operating/sign-in.md): nothing of it is on unless it is configured -----

OIDC, LDAP = oidc(), ldap()
SIGN_IN_TEAMS = team_rules()
REMOTE_USER_HEADER = remote_user_header(EXEML_TRUSTED_PROXIES)
SESSION_HOURS = env_int("EXEML_SESSION_HOURS", 0)  # 0: two weeks after its last change, as Django does
SESSION_IDLE_HOURS = env_int("EXEML_SESSION_IDLE_HOURS", 0)  # 0: no limit
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
LDAP_BACKEND = "projects.sign_in.ldap.LdapBackend"
if LDAP:
    AUTHENTICATION_BACKENDS += [LDAP_BACKEND]
if REMOTE_USER_HEADER:
    MIDDLEWARE += ["projects.sign_in.remote_user.TrustedHeaderMiddleware"]
    AUTHENTICATION_BACKENDS += ["projects.sign_in.remote_user.TrustedHeaderBackend"]
if env_bool("EXEML_OPERATORS_SECOND_FACTOR", False):
    MIDDLEWARE += ["projects.sign_in.operators.OperatorsSecondFactorMiddleware"]
if SESSION_HOURS or SESSION_IDLE_HOURS:
    MIDDLEWARE += ["projects.sign_in.sessions.SessionAgeMiddleware"]
SESSION_COOKIE_AGE = SESSION_HOURS * 3600 or 14 * 24 * 3600
MAIL = mail()
globals().update(MAIL)  # EMAIL_HOST and what belongs to it

# django-allauth: its flows and tables. Its pages are reached only where projects/urls.py names them.
ACCOUNT_ADAPTER = "projects.sign_in.adapters.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
MFA_ADAPTER = "projects.sign_in.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "exeml"
MFA_TOTP_TOLERANCE = 1  # half a minute, for a phone whose clock is wrong or who types slowly

LANGUAGE_CODE, LOCALE_PATHS = "en", [BASE_DIR / "locale"]
LANGUAGE_COOKIE_AGE, LANGUAGE_COOKIE_SECURE = 365 * 24 * 3600, HTTPS
USE_TZ = True
TIME_ZONE = os.environ.get("EXEML_TIME_ZONE") or "UTC"
FORMAT_MODULE_PATH = "exeml_site.formats"

# --- Limits of the product -----


EXEML_MAX_PROJECTS_PER_TEAM = env_int("EXEML_MAX_PROJECTS_PER_TEAM", 100, minimum=1)
EXEML_MAX_SERVICES_PER_TEAM = env_int("EXEML_MAX_SERVICES_PER_TEAM", 20, minimum=1)
EXEML_MAX_IMAGE_MB = env_int("EXEML_MAX_IMAGE_MB", 20, minimum=1)
EXEML_MAX_IMAGE_MEGAPIXELS = env_int("EXEML_MAX_IMAGE_MEGAPIXELS", 50, minimum=1)
EXEML_MAX_IMPORT_GB = env_int("EXEML_MAX_IMPORT_GB", 50, minimum=1)
MAX_REQUEST_BYTES = EXEML_MAX_IMPORT_GB * 1024**3 + 1024**2  # a batch comes in one request
EXEML_SOURCE_ROOTS = source_roots(env_list("EXEML_SOURCE_ROOTS", ""))
EXEML_WEBHOOK_ALLOW = webhook_allowance("EXEML_WEBHOOK_ALLOW")
EXEML_API_CALLS_PER_MINUTE = env_int("EXEML_API_CALLS_PER_MINUTE", 6000)  # of a token; 0: no limit
EXEML_METRICS_TOKEN = os.environ.get("EXEML_METRICS_TOKEN") or ""
RQ_API_TOKEN = EXEML_METRICS_TOKEN  # protects /admin/rq/metrics, the queue metrics
EXEML_CACHE_GB = env_int("EXEML_CACHE_GB", 20, minimum=1)  # copies of files of a remote storage
EXEML_BIN_DAYS = env_int("EXEML_BIN_DAYS", 30, minimum=1)
EXEML_AUDIT_DAYS = env_int("EXEML_AUDIT_DAYS", 365, minimum=30)  # the database keeps 30 days in any case
AUDIT_STDOUT = env_bool("EXEML_AUDIT_STDOUT", False)
EXEML_CURRENCY = os.environ.get("EXEML_CURRENCY") or "USD"
EXEML_ENGINE_THREADS = env_int("EXEML_ENGINE_THREADS", 0)  # 0: all cores

LOG_FORMAT = env_choice("EXEML_LOG_FORMAT", "text", "json")
ACCESS_LOG = env_bool("EXEML_ACCESS_LOG", False)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "exeml_site.logs.lines.TextFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
        },
        "json": {"()": "exeml_site.logs.lines.JsonFormatter"},
    },
    "filters": {  # what bad Host headers, forms without a token and broken connections cause
        "few": {"()": "exeml_site.lib.log_limit.LineLimit", "loggers": ["django.security", "waitress"]}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["few"]}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("EXEML_LOG_LEVEL") or "INFO"},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "psycopg.pool": {"level": "ERROR"},  # WARNING: a line for every attempt to connect
        "waitress": {"level": "WARNING"},
        "waitress.queue": {"level": "ERROR"},  # WARNING: a line for every request that waits for a thread
        "rq": {"level": "WARNING"},  # INFO logs two lines per sweep; trainings have their own log
    },
}

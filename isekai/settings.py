"""All settings, from the environment alone. ``.env.example`` has every name with its meaning."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from isekai import __version__, logging
from isekai.environment import Environment, looks_guessable

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

# --- where and how this runs -----------------------------------------------------------------------------------------
ISEKAI_ENV = env.choice("ISEKAI_ENV", "production", ["production", "development", "test"])
PRODUCTION = ISEKAI_ENV == "production"
DEBUG = env.boolean("ISEKAI_DEBUG", False)
if DEBUG and PRODUCTION:
    raise ImproperlyConfigured("ISEKAI_DEBUG cannot be on in production: its pages show settings and source.")
DEFAULT_EXCEPTION_REPORTER_FILTER = "isekai.debugging.SecretsFilter"

# Every wait of the engine is multiplied with this; tests run at a tenth.
ISEKAI_TIME_SCALE = env.decimal("ISEKAI_TIME_SCALE", 1, least=0.01, most=1)
if PRODUCTION and ISEKAI_TIME_SCALE != 1:
    raise ImproperlyConfigured("ISEKAI_TIME_SCALE must be 1 in production; expected: no value.")
env.time_scale = ISEKAI_TIME_SCALE

SECRET_KEY = env.secret("SECRET_KEY", at_least=50)
ENCRYPTION_KEYS = env.encryption_keys("ENCRYPTION_KEY")

# The address that people type; the OAuth redirect URI and all absolute links start with it.
PUBLIC_URL = env.url("ISEKAI_PUBLIC_URL", schemes=["https", "http"])
ISEKAI_HTTPS = env.boolean("ISEKAI_HTTPS", PRODUCTION)
if ISEKAI_HTTPS and not PUBLIC_URL.startswith("https://"):
    raise ImproperlyConfigured("ISEKAI_PUBLIC_URL must start with https:// while ISEKAI_HTTPS is on.")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", [str(urlsplit(PUBLIC_URL).hostname)])
if PRODUCTION and "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS has a value that cannot be used; expected: the names of this host, not *."
    )
# On only where every request comes through a proxy that writes X-Forwarded-Proto, -For and X-Request-ID itself.
ISEKAI_BEHIND_PROXY = env.boolean("ISEKAI_BEHIND_PROXY", False)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]

ROOT_URLCONF = "isekai.urls"
WSGI_APPLICATION = "isekai.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000

INSTALLED_APPS = [
    "unfold",  # before the admin, whose templates it replaces
    "isekai.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "axes",
    "csp",
    "django_celery_beat",
    "django_filters",
    "django_htmx",
    "django_prometheus",
    "django_structlog",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "isekai.apps.IsekaiConfig",
    "accounts",
    "deviations",
    "automations",
    "publisher",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    # First, since these write headers into every answer.
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "isekai.health.ProbeMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "isekai.middleware.RequestLog",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

# --- PostgreSQL: the only record of what is to happen ----------------------------------------------------------------
DATABASE_URL = env.url("DATABASE_URL", schemes=["postgresql", "postgres"])
# For LISTEN and advisory locks, which a transaction pooler breaks.
DATABASE_DIRECT_URL = env.url("DATABASE_DIRECT_URL", DATABASE_URL, schemes=["postgresql", "postgres"])
# Connections that one process shares among its threads; 0: each thread has its own.
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 0, most=200)
database = environ.Env.db_url_config(DATABASE_URL)
database_password = str(database.get("PASSWORD") or "")  # none where it lets us in by certificate
if PRODUCTION and database_password and looks_guessable(database_password):
    raise ImproperlyConfigured("DATABASE_URL has a password that cannot be used; expected: a random one.")
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **database,
        "ENGINE": "django_prometheus.db.backends.postgresql",
        # Seconds. A new one costs PostgreSQL more than a work's statements do, and knows none of their plans.
        "CONN_MAX_AGE": 0 if DATABASE_POOL_SIZE else 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 5,
            "application_name": "isekai",
            # A host that vanished without a word is noticed within a minute, not after the two hours of the kernel.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            # Plans are kept (isekai/prepared.py) from the second time on; a transaction pooler would mix them up.
            "prepare_threshold": 1 if DATABASE_DIRECT_URL == DATABASE_URL else None,
            **database.get("OPTIONS", {}),  # what stands in the URL: sslmode, above all
        },
    },
}
if DATABASE_POOL_SIZE:
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 10}

# --- Redis: wake-ups, pace and caches; may be emptied at any moment --------------------------------------------------
REDIS_URL = env.url("REDIS_URL", schemes=["redis", "rediss"])
if not re.fullmatch(r"(/[0-9]{0,3})?", urlsplit(REDIS_URL).path):
    raise ImproperlyConfigured("REDIS_URL has a value that cannot be used; expected: a number behind the last slash.")
if PRODUCTION and looks_guessable(urlsplit(REDIS_URL).password or ""):
    raise ImproperlyConfigured(
        "REDIS_URL has no password that can be used; expected: redis://:a-random-one@host:port/0."
    )


def redis_database(number: int) -> str:
    """``REDIS_URL`` with another database, counted from the one that it names."""
    parts = urlsplit(REDIS_URL)
    return parts._replace(path=f"/{int(parts.path.strip('/') or 0) + number}").geturl()


# A page waits no longer than this for what it can also do without.
CACHE_OPTIONS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}
CACHES = {
    "default": {
        "BACKEND": "isekai.cache.ForgivingRedisCache",
        "LOCATION": redis_database(1),
        "TIMEOUT": 300,
        "OPTIONS": CACHE_OPTIONS,
    },
    "sessions": {
        "BACKEND": "isekai.cache.SessionCache",
        "LOCATION": redis_database(2),
        "OPTIONS": CACHE_OPTIONS,
    },
}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_CACHE_ALIAS = "sessions"
SESSION_COOKIE_AGE = env.integer("SESSION_MAX_AGE_DAYS", 7, least=1, most=365) * 24 * 3600

# --- S3: the artists' files ------------------------------------------------------------------------------------------
S3_ENDPOINT = env.url("S3_ENDPOINT", schemes=["https", "http"], required=False)  # empty: AWS
S3_REGION = env.text("S3_REGION", "us-east-1")
S3_BUCKET_NAME = env.text("S3_BUCKET_NAME", expected="the name of a private bucket")
S3_ACCESS_KEY_ID = env.text("S3_ACCESS_KEY_ID", expected="the access key of the bucket")
S3_SECRET_ACCESS_KEY = env.secret("S3_SECRET_ACCESS_KEY", at_least=16)
S3_PATH_PREFIX = env.text("S3_PATH_PREFIX", "").strip("/") + "/" if env.text("S3_PATH_PREFIX", "").strip("/") else ""
# The host under which the browser reaches the bucket: presigned URLs carry it, and the CSP allows it.
S3_PRESIGNED_ENDPOINT = env.url(
    "S3_PRESIGNED_ENDPOINT",
    S3_ENDPOINT or f"https://s3.{S3_REGION}.amazonaws.com",
    schemes=["https", "http"],
)
UPLOAD_MAX_BYTES = env.integer("UPLOAD_MAX_BYTES", 50 * 1024 * 1024, least=1024)
UPLOAD_TICKET_SECONDS = 15 * 60
UPLOAD_MAX_FILES_PER_WORK = 100
# How long *complete* waits for the reader before it answers that the file is still being read. People wait: not scaled.
UPLOAD_COMPLETE_WAIT_SECONDS = 1
# A reader of a file that has said nothing for so long is dead. Longer than fetching and reading may take together.
MEDIA_LEASE_SECONDS = env.seconds("MEDIA_LEASE", 240)
MEDIA_SWEEP_SECONDS = env.seconds("MEDIA_SWEEP", 10)
# A file over which that many readers died is given up, instead of killing the next one.
MEDIA_MAX_ATTEMPTS = 3

STORAGES = {
    "default": {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "endpoint_url": S3_ENDPOINT or None,
            "region_name": S3_REGION,
            "bucket_name": S3_BUCKET_NAME,
            "access_key": S3_ACCESS_KEY_ID,
            "secret_key": S3_SECRET_ACCESS_KEY,
            "signature_version": "s3v4",
            "addressing_style": "path",
            "default_acl": None,
            "querystring_auth": True,
            "file_overwrite": False,
        },
    },
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage",
    },
}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = not PRODUCTION

# --- DeviantArt ------------------------------------------------------------------------------------------------------
DEVIANTART_OFFICIAL_URL = "https://www.deviantart.com"
DEVIANTART_BASE_URL = env.url("DEVIANTART_BASE_URL", DEVIANTART_OFFICIAL_URL, schemes=["https", "http"])
if PRODUCTION and DEVIANTART_BASE_URL != DEVIANTART_OFFICIAL_URL:
    raise ImproperlyConfigured(f"DEVIANTART_BASE_URL must be {DEVIANTART_OFFICIAL_URL} unless ISEKAI_ENV=development.")
DEVIANTART_CLIENT_ID = env.text("DEVIANTART_CLIENT_ID", expected="the client_id of your application at DeviantArt")
DEVIANTART_CLIENT_SECRET = env.secret("DEVIANTART_CLIENT_SECRET", at_least=16)
# As registered there: DeviantArt says it back as `submitted_with.app`, by which we recognise our own submissions.
DEVIANTART_APPLICATION_NAME = env.text("DEVIANTART_APPLICATION_NAME", "")

DEVIANTART_CONNECT_SECONDS = env.seconds("DEVIANTART_CONNECT_SECONDS", 5)
DEVIANTART_READ_DEADLINE_SECONDS = env.seconds("DEVIANTART_READ_DEADLINE_SECONDS", 30)
DEVIANTART_TOKEN_DEADLINE_SECONDS = env.seconds("DEVIANTART_TOKEN_DEADLINE_SECONDS", 30)
DEVIANTART_SUBMIT_DEADLINE_SECONDS = env.seconds("DEVIANTART_SUBMIT_DEADLINE_SECONDS", 300)
DEVIANTART_PUBLISH_DEADLINE_SECONDS = env.seconds("DEVIANTART_PUBLISH_DEADLINE_SECONDS", 60)

# --- automations: waits in seconds, before the time scale ------------------------------------------------------------
# So long before its moment a slot is made: its works are scheduled, and can be seen, cancelled and uploaded ahead.
AUTOMATION_LEAD_SECONDS = env.seconds("AUTOMATION_LEAD", 3600)

# --- the publisher: waits in seconds, before the time scale ----------------------------------------------------------
PUBLISHER_CONCURRENCY = env.integer("PUBLISHER_CONCURRENCY", 16, least=1, most=500)
PUBLISHER_MAX_ATTEMPTS = env.integer("PUBLISHER_MAX_ATTEMPTS", 7, least=1, most=100)
PUBLISHER_JOB_TIMEOUT_SECONDS = env.integer("PUBLISHER_JOB_TIMEOUT_MS", 600_000, least=1000) / 1000 * ISEKAI_TIME_SCALE
PUBLISHER_DRAIN_SECONDS = env.seconds("PUBLISHER_DRAIN", 75)
PUBLISHER_HEARTBEAT_SECONDS = env.seconds("PUBLISHER_HEARTBEAT", 5)
PUBLISHER_LEASE_SECONDS = env.seconds("PUBLISHER_LEASE", 20)
PUBLISHER_TICK_SECONDS = env.seconds("PUBLISHER_TICK", 5)
# So long before its moment a work is uploaded, so that only the publish call is left.
PUBLISHER_STAGE_AHEAD_SECONDS = env.seconds("PUBLISHER_STAGE_AHEAD", 1800)
PUBLISHER_RESCUE_SECONDS = env.seconds("PUBLISHER_RESCUE", 2)
# An unconfirmed work is looked up so long after its call, then the same item is published again.
PUBLISHER_LOOK_SECONDS = [env.seconds("PUBLISHER_FIRST_LOOK", 5), env.seconds("PUBLISHER_SECOND_LOOK", 30)]
PUBLISHER_REPEAT_MARGIN_SECONDS = env.seconds("PUBLISHER_REPEAT_MARGIN", 15)
# A work that is live, but whose url is not yet to be seen, is looked for so long after each look before.
PUBLISHER_URL_LOOK_SECONDS = [30 * ISEKAI_TIME_SCALE, *(s * ISEKAI_TIME_SCALE for s in (120, 600, 3600, 86_400))]
# The pace of an account: a few calls at once, then one in so long, which is shortened and lengthened by the answers.
RATE_LIMITER_ENABLED = env.boolean("RATE_LIMITER_ENABLED", True)
RATE_LIMITER_BASE_DELAY_SECONDS = (
    env.integer("RATE_LIMITER_BASE_DELAY_MS", 3000, least=100, most=300_000) / 1000 * ISEKAI_TIME_SCALE
)
RATE_LIMITER_MAX_DELAY_SECONDS = (
    env.integer("RATE_LIMITER_MAX_DELAY_MS", 300_000, least=1000, most=3_600_000) / 1000 * ISEKAI_TIME_SCALE
)
if RATE_LIMITER_MAX_DELAY_SECONDS < RATE_LIMITER_BASE_DELAY_SECONDS:
    raise ImproperlyConfigured(
        "RATE_LIMITER_MAX_DELAY_MS has a value that cannot be used; expected: at least RATE_LIMITER_BASE_DELAY_MS."
    )
# So many answers 429 in a row hold an account, and so many 503 the installation, for so long.
CIRCUIT_BREAKER_ENABLED = env.boolean("CIRCUIT_BREAKER_ENABLED", True)
CIRCUIT_BREAKER_THRESHOLD = env.integer("CIRCUIT_BREAKER_THRESHOLD", 3, least=1, most=1000)
CIRCUIT_BREAKER_OPEN_SECONDS = (
    env.integer("CIRCUIT_BREAKER_OPEN_DURATION_MS", 300_000, least=1000, most=3_600_000) / 1000 * ISEKAI_TIME_SCALE
)
# How far our clock and DeviantArt's may lie apart when a work is recognised by its time. Not a wait: never scaled.
PUBLISHER_MATCH_SECONDS = 120
# Nothing goes out while the database's clock and DeviantArt's lie further apart than this, and a host whose clock is
# so far from the database's takes up no works; 0: there is only an alarm. Not a wait either.
CLOCK_HOLD_SECONDS = env.integer("CLOCK_HOLD_SECONDS", 60, least=0, most=86_400)

# Tests put files there that kill our processes at named points (isekai/faults.py).
FAULTS_DIRECTORY = env.text("ISEKAI_FAULTS_DIRECTORY", "") or None
if FAULTS_DIRECTORY and ISEKAI_ENV != "test":
    raise ImproperlyConfigured("ISEKAI_FAULTS_DIRECTORY may only be set with ISEKAI_ENV=test; expected: no value.")

# --- accounts: waits in seconds, before the time scale ---------------------------------------------------------------
TOKEN_REFRESH_MARGIN_SECONDS = 300
TOKEN_REFRESH_LEASE_SECONDS = env.seconds("TOKEN_REFRESH_LEASE", 45)
TOKEN_REFRESH_POLL_SECONDS = env.seconds("TOKEN_REFRESH_POLL", 0.5)
TOKEN_WRITE_RETRY_SECONDS = env.seconds("TOKEN_WRITE_RETRY", 60)
REFRESH_TOKEN_DAYS = 90

# --- Celery ----------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# A Redis whose memory is full refuses what a worker writes into it. That passes, and is waited out like an outage.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "maintenance"
CELERY_TASK_ROUTES = {
    "publisher.*": {"queue": "publisher"},
    "media.*": {"queue": "media"},
    "automations.*": {"queue": "maintenance"},
    "notifications.*": {"queue": "notifications"},
    "analytics.*": {"queue": "analytics"},
    "maintenance.*": {"queue": "maintenance"},
}
CELERY_TASK_EXPIRES = 600  # messages are only wake-ups: old ones say nothing that the tick does not find by itself
CELERY_VISIBILITY_TIMEOUT = 900
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_VISIBILITY_TIMEOUT,
    # kombu looks for what a dead worker held only every 10 x 10 s unless told otherwise.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_on_timeout": True,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "isekai.beat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
# When it last ran is saved after each task: `/ready` tells by it whether beat lives.
CELERY_BEAT_SYNC_EVERY = 1

# --- health, metrics, logs -------------------------------------------------------------------------------------------
HEALTH_CHECK_ENABLED = env.boolean("HEALTH_CHECK_ENABLED", True)
HEALTH_CHECK_PORT = env.integer("HEALTH_CHECK_PORT", 8000, least=1, most=65_535)
HEALTH_CHECK_HOST = env.text("HEALTH_CHECK_HOST", "127.0.0.1")
# `GET /metrics` of web asks for it as a bearer token; without one the path answers only callers on loopback.
METRICS_TOKEN = env.secret("METRICS_TOKEN", at_least=24, required=False)
# Read by prometheus_client itself. Set for services of several processes, each to a folder of its own.
if metrics_folder := env.text("PROMETHEUS_MULTIPROC_DIR", ""):
    Path(metrics_folder).mkdir(parents=True, exist_ok=True)
PROMETHEUS_EXPORT_MIGRATIONS = False
LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
LOGGING_CONFIG = None
logging.configure(
    level=LOG_LEVEL,
    as_json=env.boolean("LOG_JSON", PRODUCTION),
    for_good=PRODUCTION,
    secrets=[
        SECRET_KEY,
        *(key.hex() for key in ENCRYPTION_KEYS),
        database_password,
        urlsplit(REDIS_URL).password or "",
        S3_SECRET_ACCESS_KEY,
        DEVIANTART_CLIENT_SECRET,
        METRICS_TOKEN,
    ],
)
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = 10  # logging.DEBUG: how it ended says the same, and more
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = ISEKAI_BEHIND_PROXY

# --- people ----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "deviations:works"
LOGOUT_REDIRECT_URL = "accounts:sign-in"
AXES_VERBOSE = False  # a line for each command that is run
AXES_FAILURE_LIMIT = 10
AXES_CLIENT_IP_CALLABLE = "isekai.middleware.client_address"
AXES_COOLOFF_TIME = 0.25  # hours
# Both together, so that a stranger cannot lock the owner out from elsewhere.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "accounts.web.views.answer_lockout"
# Whether somebody new who signs in with DeviantArt becomes a user; an operator can always make users.
ISEKAI_OPEN_REGISTRATION = env.boolean("ISEKAI_OPEN_REGISTRATION", not PRODUCTION)
# Where mail goes; without an address it is only written into the log.
_mail = environ.Env.email_url_config(
    env.url("EMAIL_URL", schemes=["smtp", "smtp+tls", "smtp+ssl"], required=False) or "consolemail://"
)
EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
EMAIL_HOST, EMAIL_PORT = _mail["EMAIL_HOST"], _mail["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_USER"] or "", _mail["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.get("EMAIL_USE_TLS", False), _mail.get("EMAIL_USE_SSL", False)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("EMAIL_FROM", f"isekai@{urlsplit(PUBLIC_URL).hostname}")

# --- language and time -----------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- what browsers are told ------------------------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ISEKAI_HTTPS
SESSION_COOKIE_NAME = "__Host-isekai" if ISEKAI_HTTPS else "isekai"
CSRF_COOKIE_NAME = "__Host-isekai-csrf" if ISEKAI_HTTPS else "isekai-csrf"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = env.boolean("ISEKAI_HTTPS_REDIRECT", True) and ISEKAI_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health$", r"^ready$", r"^metrics$"]  # asked by probes inside the network
SECURE_HSTS_SECONDS = 31_536_000 if ISEKAI_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ISEKAI_HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if ISEKAI_BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

STORAGE_ORIGIN = "{0.scheme}://{0.netloc}".format(urlsplit(S3_PRESIGNED_ENDPOINT))
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/api/docs"],  # Swagger's own page sets inline styles; it shows no data of anybody
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "blob:", STORAGE_ORIGIN],
        "media-src": [SELF, "blob:", STORAGE_ORIGIN],
        "font-src": [SELF],
        "connect-src": [SELF, STORAGE_ORIGIN],
        "form-action": [SELF, DEVIANTART_BASE_URL],
        "manifest-src": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
    },
}

# --- the API ---------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]
    if PRODUCTION
    else ["rest_framework.renderers.JSONRenderer", "rest_framework.renderers.BrowsableAPIRenderer"],
    "DEFAULT_PARSER_CLASSES": ["isekai.api.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "isekai.api.Pages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "isekai.api.answer_exception",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Isekai",
    "DESCRIPTION": "Upload, draft, schedule and publish works on DeviantArt.",
    "VERSION": __version__,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    # Where several fields have the same name, or several names the same choices.
    "ENUM_NAME_OVERRIDES": {
        "ActionEnum": "deviations.api.serializers.BulkSerializer.ACTIONS",
        "DisplayResolutionEnum": "deviations.models.Deviation.DisplayResolution",
        "KindEnum": "deviations.models.Deviation.Kind",
        "OutcomeEnum": "publisher.models.Attempt.Outcome",
        "ExecutionKindEnum": "automations.models.Execution.Kind",
        "ExecutionOutcomeEnum": "automations.models.Execution.Outcome",
        "MethodEnum": "automations.models.Automation.Method",
        "UnmixedMethodEnum": "automations.api.serializers.PartSerializer.METHODS",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "isekai.api.document_errors"],
}

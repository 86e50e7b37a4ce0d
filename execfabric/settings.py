"""All settings, from the environment; an invalid value stops the start.

Our own functions read them; pydantic-settings would repeat each name in a class.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from execfabric import logs
from execfabric.lib import space
from execfabric.local import endpoints

BASE_DIR = Path(__file__).resolve().parent.parent


def env_text(name: str, default: str = "") -> str:
    """Return a text value, or the content of the file that `NAME_FILE` names."""
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get(name, default)


def env_bool(name: str, *, default: bool) -> bool:
    """Return a boolean; only `true` and `false` are valid."""
    value = os.environ.get(name, "true" if default else "false")
    if value not in {"true", "false"}:
        message = f"Invalid {name} {value!r}: it must be true or false."
        raise ImproperlyConfigured(message)
    return value == "true"


def env_int(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdigit():
        message = f"Invalid {name} {value!r}: it must be a whole number."
        raise ImproperlyConfigured(message)
    return int(value)


def env_list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in env_text(name, default).split(",") if item.strip()]


PREPARED_STATEMENTS = env_bool("EXECFABRIC_PREPARED_STATEMENTS", default=True)
IN_WEB_SERVER = "execfabric.asgi" in sys.modules
"""True in the web server, the only process that imports `asgi` before this."""
WEB_CONNECTIONS = env_int("EXECFABRIC_WEB_CONNECTIONS", 20)
OTHER_THREADS = 2
"""The readiness check and the sockets use a connection each."""
if WEB_CONNECTIONS <= OTHER_THREADS:
    raise ImproperlyConfigured(
        f"Invalid EXECFABRIC_WEB_CONNECTIONS {WEB_CONNECTIONS}:"
        f" it must be at least {OTHER_THREADS + 1}."
    )
WEB_SLOTS = WEB_CONNECTIONS - OTHER_THREADS
"""Requests that the web server handles at once; each uses one connection."""
WEB_POOL = {
    "min_size": 1,
    "max_size": WEB_CONNECTIONS,
    "max_waiting": 100,
    "timeout": 5,
    # The pause between attempts grows, and must be short after an outage.
    "reconnect_timeout": 2,
}


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for a `postgresql://user:password@host:port/name` URL."""
    try:
        options = conninfo_to_dict(url)
    except ProgrammingError:  # its message may quote the password
        options = {}
    if "dbname" not in options:
        raise ImproperlyConfigured(
            "Invalid DATABASE_URL: it must be postgresql://user:password@host:port/name,"
            " with special characters percent-encoded."
        )
    keys = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{name: options.pop(key, "") for name, key in keys.items()},
        "PORT": str(options.pop("port", "")),
        # A worker and the keeper have one thread and reuse its connection. The web
        # server has a new thread for each request, so it needs a pool.
        "CONN_MAX_AGE": 0 if IN_WEB_SERVER else None,
        # Not with a pool, which would try its broken connections one by one, with
        # pauses. `database.release` replaces all of them after an error.
        "CONN_HEALTH_CHECKS": not IN_WEB_SERVER,
        "OPTIONS": {
            **options,
            **({"pool": WEB_POOL} if IN_WEB_SERVER else {}),
            "application_name": "execfabric",
            # None prepares nothing, for poolers that share connections.
            "prepare_threshold": 1 if PREPARED_STATEMENTS else None,
        },
    }


PRODUCTION = env_text("EXECFABRIC_ENV", "development") == "production"
DEMO_MODE = env_bool("EXECFABRIC_DEMO", default=False)
DATA_DIR = Path(env_text("EXECFABRIC_DATA_DIR") or BASE_DIR / ".data")
EMBEDDED = endpoints.load(DATA_DIR)
DATABASE_URL = env_text("DATABASE_URL", EMBEDDED.database_url if EMBEDDED else "")
REDIS_URL = env_text("REDIS_URL", EMBEDDED.redis_url if EMBEDDED else "")
COMMANDS_WITHOUT_SERVERS = {"makemigrations", "collectstatic", "help", "openapi"}
if not DATABASE_URL and not COMMANDS_WITHOUT_SERVERS & set(sys.argv[1:2]):
    DATABASE_URL = "postgresql://not-configured@127.0.0.1:1/not-configured"
if PRODUCTION and DEMO_MODE:
    raise ImproperlyConfigured(
        "Cannot start in production with EXECFABRIC_DEMO=true: demo mode has open sign-in."
        " Set it to false."
    )


def secret_key() -> str:
    """Return `SECRET_KEY`, or the key that `make up` wrote into the data folder."""
    if key := env_text("SECRET_KEY"):
        return key
    if PRODUCTION:
        raise ImproperlyConfigured("Cannot start in production: SECRET_KEY is missing.")
    if (key_file := DATA_DIR / "secret-key").exists():
        return key_file.read_text(encoding="utf-8").strip()
    return "development-only-key-before-the-data-folder-exists"


SECRET_KEY = secret_key()
SECRET_KEY_FALLBACKS = env_list("EXECFABRIC_SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env_list("EXECFABRIC_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
BASE_URL = env_text("EXECFABRIC_BASE_URL", "")
CSRF_TRUSTED_ORIGINS = env_list("EXECFABRIC_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "guardian",
    "ninja",
    "csp",
    "allauth",
    "allauth.account",
    "execfabric.identity",
    "audit",
    "approvals",
    "orchestration.skills",
    "orchestration.plans",
    "orchestration.runs",
    "orchestration.triggers",
    "orchestration.trace",
    "execfabric.web",
    "execfabric.help",
    "execfabric.demo",
]

MIDDLEWARE = [
    "execfabric.web.middleware.ReleaseConnection",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "execfabric.web.middleware.CompressPages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "execfabric.web.middleware.SignInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "execfabric.web.middleware.RefuseUnstorableText",
    "execfabric.web.middleware.RefusalResponses",
]

ROOT_URLCONF = "execfabric.urls"
ASGI_APPLICATION = "execfabric.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "execfabric.web.shell.shell",
                "approvals.context.inbox_badge",
                "orchestration.runs.context.stop_banner",
            ],
        },
    }
]

DATABASES = {"default": database(DATABASE_URL)} if DATABASE_URL else {}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APP_DATABASE_ROLE = env_text("EXECFABRIC_APP_ROLE", "execfabric_app")

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ANONYMOUS_USER_NAME = None
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "execfabric.identity.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = False
# Failures are counted in `execfabric.identity.sign_in`.
ACCOUNT_RATE_LIMITS = {"login_failed": None, "login": "600/m/ip"}
BEHIND_PROXY = env_bool("EXECFABRIC_BEHIND_PROXY", default=False)
ALLAUTH_TRUSTED_PROXY_COUNT = env_int("EXECFABRIC_TRUSTED_PROXIES", int(BEHIND_PROXY))
"""Number of our proxies, and of trusted entries in X-Forwarded-For."""


def installation(use: str) -> str:
    """Return a suffix that is unique to this installation on this host."""
    return hashlib.sha256(f"{use}:{SECRET_KEY}".encode()).hexdigest()[:8]


def cookie(name: str) -> str:
    """Return the name of one of our cookies.

    In production the prefix prevents other hosts from setting it. Elsewhere several
    installations may share a host, and browsers send cookies to all its ports.
    """
    if PRODUCTION:
        return f"__Host-execfabric-{name}"
    return f"execfabric-{name}-{installation('cookies')}"


SESSION_COOKIE_NAME = cookie("session")
CSRF_COOKIE_NAME = cookie("csrf")
KNOWN_BROWSER_COOKIE_NAME = cookie("browser")
SESSION_COOKIE_SECURE = PRODUCTION
CSRF_COOKIE_SECURE = PRODUCTION
CSRF_FAILURE_VIEW = "execfabric.web.errors.csrf_failure"
SECURE_SSL_REDIRECT = env_bool("EXECFABRIC_SSL_REDIRECT", default=PRODUCTION)
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
if PRODUCTION and BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        # The nonce is for the styles of the plan editor.
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
LARGEST_HOOK_BODY = 256 * 1024
"""Maximum bytes of a body that is sent to a webhook."""
HOOK_PATHS = r"/hooks/[0-9a-f-]{36}"
"""Paths to which other systems send signed requests."""

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
HASHED_STATIC = env_bool("EXECFABRIC_HASHED_STATIC", default=PRODUCTION)
"""Serve compressed files under hashed names, cached forever; requires `collectstatic`."""
SERVESTATIC_USE_FINDERS = not HASHED_STATIC
STATIC_STORAGE = (
    "servestatic.storage.CompressedManifestStaticFilesStorage"
    if HASHED_STATIC
    else "django.contrib.staticfiles.storage.StaticFilesStorage"
)
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": env_text("EXECFABRIC_ARTIFACT_DIR", str(DATA_DIR / "artifacts"))
        },
    },
    "staticfiles": {"BACKEND": STATIC_STORAGE},
}

CACHES = {
    # `execfabric.infra.throttle` counts here while Redis is away.
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "shared": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL or "redis://127.0.0.1:1/0",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 1},
    },
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # Longer than the blocking read of the layer, which takes 5 s.
            "hosts": [
                {"address": REDIS_URL or "redis://127.0.0.1:1/0", "socket_timeout": 20}
            ],
            "capacity": 100,
        },
    }
}

ALERT_MAIL = bool(env_text("EXECFABRIC_MAIL_HOST"))
EMAIL_HOST = env_text("EXECFABRIC_MAIL_HOST", "localhost")
EMAIL_PORT = env_int("EXECFABRIC_MAIL_PORT", 25)
EMAIL_HOST_USER = env_text("EXECFABRIC_MAIL_USER")
EMAIL_HOST_PASSWORD = env_text("EXECFABRIC_MAIL_PASSWORD")
EMAIL_USE_TLS = env_bool("EXECFABRIC_MAIL_STARTTLS", default=False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env_text("EXECFABRIC_MAIL_FROM", "execfabric@localhost")
ALERT_WEBHOOK_URL = env_text("EXECFABRIC_ALERT_WEBHOOK_URL")

LOGGING = logs.config(
    level=env_text("EXECFABRIC_LOG_LEVEL", "INFO"), as_json=PRODUCTION
)

API_PER_MINUTE = env_int("EXECFABRIC_API_PER_MINUTE", 3000)
HOOKS_PER_MINUTE = env_int("EXECFABRIC_HOOKS_PER_MINUTE", 60)
LEASE_SECONDS = env_int("EXECFABRIC_LEASE_SECONDS", 10)
HEARTBEAT_SECONDS = max(1, LEASE_SECONDS // 3)
HINT_AGAIN_SECONDS = env_int("EXECFABRIC_HINT_AGAIN_SECONDS", 5)
DRY_RUN_WAIT_SECONDS = env_int("EXECFABRIC_DRY_RUN_WAIT_SECONDS", 180)
DRY_RUNS_PER_ACTOR = env_int("EXECFABRIC_DRY_RUNS_PER_ACTOR", 20)
GATE_TTL_SECONDS = env_int("EXECFABRIC_GATE_DEFAULT_TTL", 7 * 24 * 3600)
MIN_FREE_BYTES = env_int("EXECFABRIC_MIN_FREE_MB", space.DEFAULT_MB) * space.MB
MAX_ARTIFACT_BYTES = env_int("EXECFABRIC_MAX_ARTIFACT_BYTES", 256 * 1024 * 1024)
MAX_UPLOAD_BYTES = env_int(
    "EXECFABRIC_MAX_UPLOAD_BYTES", min(50 * 1024 * 1024, MAX_ARTIFACT_BYTES)
)
UPLOAD_HOURS = env_int("EXECFABRIC_UPLOAD_HOURS", 24)
"""Hours for which an upload that no run uses is stored."""
UPLOADS_PER_ACTOR = env_int("EXECFABRIC_UPLOADS_PER_ACTOR", 100)
"""Maximum number of unused uploads of one user or agent."""
if MAX_UPLOAD_BYTES > MAX_ARTIFACT_BYTES or not UPLOAD_HOURS:
    raise ImproperlyConfigured(
        "Invalid EXECFABRIC_MAX_UPLOAD_BYTES or EXECFABRIC_UPLOAD_HOURS: an upload may"
        " have at most EXECFABRIC_MAX_ARTIFACT_BYTES and must be stored for an hour."
    )
UPLOAD_PATHS = r"/(?:api/v1/files|plans/(?:check|dry-run|propose|save|[-\w]+/start))"
"""Paths of requests that may contain files."""
WORKER_DIR = Path(
    env_text("EXECFABRIC_WORKER_DIR")
    or Path(tempfile.gettempdir()) / f"execfabric-{installation('workers')}"
)
"""For the files of running handlers; must be on a local disk."""
SECRETS_DIR = Path(env_text("EXECFABRIC_SECRETS_DIR", str(DATA_DIR / "secrets")))

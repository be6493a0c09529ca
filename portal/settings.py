"""Django's settings: the one place where the environment is read, strictly; .env.example tells each variable."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from portal import database_away
from portal.environment import Environment, EnvironmentProblem
from portal.logs import logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent
environment = Environment()


def refuse(wrong: bool, sentence: str) -> None:
    """Stop the start with a sentence where a combination of settings is wrong."""
    if wrong:
        raise EnvironmentProblem(sentence)


try:
    DEBUG = environment.flag("DEBUG", False)
    SECRET_KEY = environment.secret("SECRET_KEY", least=32)
    PORTAL_BASE_URL = environment.url("PORTAL_BASE_URL", ("http", "https"), "http://localhost:8000").rstrip("/")
    _base = urlsplit(PORTAL_BASE_URL)
    # Mails lead there, and forms are taken from there: a name or a path in it would be in each of their addresses.
    refuse(
        not _base.hostname or "@" in _base.netloc or bool(_base.path or _base.query or _base.fragment),
        "PORTAL_BASE_URL has to name a host, and nothing but a port after it: https://portal.example.com.",
    )
    SECURE = _base.scheme == "https"
    ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", (_base.hostname or "localhost",))
    # A link that is mailed to somebody bears the name by which it was asked for.
    refuse("*" in ALLOWED_HOSTS and not DEBUG, "ALLOWED_HOSTS is *, which is every name; give those of the portal.")
    CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS", (f"{_base.scheme}://{_base.netloc}",))
    TRUSTED_PROXY_COUNT = environment.integer("TRUSTED_PROXY_COUNT", 0, least=0, most=5)

    # Web processes share a few pooled connections; workers hold plain ones, since an advisory lock is the right to write.
    PROCESS_KIND = environment.choice("PORTAL_PROCESS", ("web", "worker", "command"), "command")
    _default = environment.database("DATABASE_URL")
    _owner = environment.database("DATABASE_OWNER_URL") if environment.optional("DATABASE_OWNER_URL") else None
    POOL_SIZE = environment.integer("DATABASE_POOL_SIZE", 5, least=2, most=100)
    DATABASE_ABANDONED_SECONDS = environment.number("DATABASE_ABANDONED_SECONDS", 60, least=1, most=3600)

    REDIS_URL = environment.url("REDIS_URL", ("redis", "rediss", "unix"))

    VPLUS_URL = environment.url("VPLUS_URL", ("https",)).rstrip("/")
    VPLUS_USERNAME = environment.text("VPLUS_USERNAME")
    VPLUS_PASSWORD = environment.secret("VPLUS_PASSWORD")
    VPLUS_CA_BUNDLE = environment.existing_file("VPLUS_CA_BUNDLE")
    VPLUS_TLS_NAME = environment.optional("VPLUS_TLS_NAME")
    VPLUS_CERT_SHA256 = environment.optional("VPLUS_CERT_SHA256")
    VPLUS_DIALECT = environment.choice("VPLUS_DIALECT", ("guide", "current"), "guide")
    refuse(
        bool(VPLUS_TLS_NAME and VPLUS_CERT_SHA256),
        "VPLUS_TLS_NAME and VPLUS_CERT_SHA256 are both set; a pinned certificate needs no name.",
    )

    # Reading vPlus: how often, in seconds.
    VPLUS_POLL_ACTIVE_SECONDS = environment.number("VPLUS_POLL_ACTIVE_SECONDS", 3, least=0.2, most=600)
    VPLUS_POLL_IDLE_SECONDS = environment.number("VPLUS_POLL_IDLE_SECONDS", 30, least=0.2, most=3600)
    VPLUS_INVENTORY_SECONDS = environment.number("VPLUS_INVENTORY_SECONDS", 60, least=1, most=86400)
    VPLUS_TASKS_FULL_SECONDS = environment.number("VPLUS_TASKS_FULL_SECONDS", 300, least=1, most=86400)
    VPLUS_INFRASTRUCTURE_SECONDS = environment.number("VPLUS_INFRASTRUCTURE_SECONDS", 300, least=1, most=86400)
    VPLUS_HISTORY_MAX_AGE_SECONDS = environment.number("VPLUS_HISTORY_MAX_AGE_SECONDS", 86400, least=60, most=604800)
    PROTECTION_GRACE_SECONDS = environment.number("PROTECTION_GRACE_SECONDS", 3600, least=1, most=86400)
    PROTECTION_EVERY_SECONDS = environment.number("PROTECTION_EVERY_SECONDS", 15, least=0.5, most=600)
    AUDIT_KEEP_DAYS = environment.integer("AUDIT_KEEP_DAYS", 730, least=31, most=36500)
    LEDGER_KEEP_DAYS = environment.integer("LEDGER_KEEP_DAYS", 100, least=31, most=3650)
    TROUBLE_MAIL_EVERY_SECONDS = environment.number("TROUBLE_MAIL_EVERY_SECONDS", 900, least=1, most=86400)
    VPLUS_HISTORY_READS_PER_SECOND = environment.number("VPLUS_HISTORY_READS_PER_SECOND", 20, least=0.1, most=1000)
    VPLUS_READ_SECONDS = environment.number("VPLUS_READ_SECONDS", 30, least=0.5, most=600)
    VPLUS_LISTING_SECONDS = environment.number("VPLUS_LISTING_SECONDS", 120, least=0.5, most=3600)
    VPLUS_CONNECT_SECONDS = environment.number("VPLUS_CONNECT_SECONDS", 5, least=0.2, most=60)
    VPLUS_SIGN_IN_COOLING_SECONDS = environment.number("VPLUS_SIGN_IN_COOLING_SECONDS", 60, least=0.1, most=3600)
    VPLUS_PAGE_SIZE = environment.integer("VPLUS_PAGE_SIZE", 500, least=1, most=10000)

    # Sending: one setting for each wait of the protocol, in seconds (docs/decisions/0003-sending.md).
    VPLUS_SEND_CLAIM_SECONDS = environment.number("VPLUS_SEND_CLAIM_SECONDS", 60, least=1, most=600)
    VPLUS_SEND_TOTAL_SECONDS = environment.number("VPLUS_SEND_TOTAL_SECONDS", 60, least=0.5, most=600)
    VPLUS_SEND_MARK_SECONDS = environment.number("VPLUS_SEND_MARK_SECONDS", 5, least=0.1, most=60)
    VPLUS_SEND_BACKOFF_SECONDS = environment.number("VPLUS_SEND_BACKOFF_SECONDS", 5, least=0.1, most=600)
    VPLUS_SEND_SWEEP_SECONDS = environment.number("VPLUS_SEND_SWEEP_SECONDS", 5, least=0.2, most=600)
    VPLUS_SETTLE_DIED_SECONDS = environment.number("VPLUS_SETTLE_DIED_SECONDS", 10, least=0.1, most=600)
    VPLUS_SETTLE_ABSENT_SECONDS = environment.number("VPLUS_SETTLE_ABSENT_SECONDS", 120, least=0.1, most=3600)
    VPLUS_SETTLE_CANCEL_SECONDS = environment.number("VPLUS_SETTLE_CANCEL_SECONDS", 120, least=0.1, most=3600)
    VPLUS_CANCEL_AGAIN_SECONDS = environment.number("VPLUS_CANCEL_AGAIN_SECONDS", 900, least=0.1, most=86_400)
    VPLUS_SETTLE_READS_APART_SECONDS = environment.number("VPLUS_SETTLE_READS_APART_SECONDS", 60, least=0.1, most=3600)
    refuse(
        VPLUS_SEND_MARK_SECONDS >= VPLUS_SEND_CLAIM_SECONDS,
        "VPLUS_SEND_MARK_SECONDS has to be shorter than VPLUS_SEND_CLAIM_SECONDS.",
    )

    # Live pages (docs/decisions/0008-live.md).
    LIVE_RIGHTS_SECONDS = environment.number("LIVE_RIGHTS_SECONDS", 30, least=0.2, most=600)
    LIVE_HEARTBEAT_SECONDS = environment.number("LIVE_HEARTBEAT_SECONDS", 15, least=0.2, most=120)
    LIVE_QUEUE = environment.integer("LIVE_QUEUE", 500, least=1, most=100_000)
    LIVE_MOST_STREAMS = environment.integer("LIVE_MOST_STREAMS", 2000, least=1, most=20_000)

    _email: dict[str, Any] = environment.mail("EMAIL_URL", "console://")
    DEFAULT_FROM_EMAIL = environment.text("EMAIL_FROM", f"vPlus Portal <portal@{_base.hostname or 'localhost'}>")
    PROMETHEUS_MULTIPROC_DIR = environment.optional("PROMETHEUS_MULTIPROC_DIR")
    LOG_JSON = environment.flag("LOG_JSON", not DEBUG)
    INSECURE_COOKIES = environment.flag("INSECURE_COOKIES", not SECURE)
    refuse(SECURE and INSECURE_COOKIES, "INSECURE_COOKIES is true while PORTAL_BASE_URL is https; leave it out.")
    refuse(
        not SECURE and _base.hostname not in {"localhost", "127.0.0.1", "::1"} and not DEBUG,
        "PORTAL_BASE_URL has to be https, save for localhost: people sign in there.",
    )
except EnvironmentProblem as problem:
    sys.exit(f"vPlus Portal cannot start: {problem}")

# ---------------------------------------------------------------- parts
INSTALLED_APPS = [
    "tenants",
    "vplus_bridge",
    "portal",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
]
MIDDLEWARE = [
    "portal.references.ReferenceMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.private_answers.PrivateAnswersMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    # Last, so that everything a tenant's view and its rendering do happens inside the scope and its transaction.
    "portal.request_scope.RequestScopeMiddleware",
]
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "portal.web.frame.frame",
            ],
            "builtins": ["portal.web.templatetags.portal_ui"],
            "libraries": {"portal_ui": "portal.web.templatetags.portal_ui"},
        },
    }
]

# ---------------------------------------------------------------- database
_options: dict[str, Any] = dict(_default["OPTIONS"])  # type: ignore[call-overload]  # the shape is environment.database's
if PROCESS_KIND == "web":
    _options["pool"] = {
        "min_size": 0,
        "max_size": POOL_SIZE,
        "timeout": database_away.POOL_SECONDS,
        "reconnect_timeout": database_away.RECONNECT_SECONDS,
        "reconnect_failed": database_away.note_not_reached,
    }
    _options.setdefault("connect_timeout", database_away.CONNECT_SECONDS)
if PROCESS_KIND == "worker":
    # A machine that stands still in the middle of a transaction, or is gone without a word, would keep an operation's row
    # or the right to write the mirror from all others. No transaction of a worker is open while it waits for vPlus.
    _options["options"] = " ".join(
        [
            str(_options.get("options", "")),
            f"-c idle_in_transaction_session_timeout={round(DATABASE_ABANDONED_SECONDS * 1000)}",
            "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=4",
        ]
    ).strip()
DATABASES: dict[str, dict[str, Any]] = {"default": {**_default, "OPTIONS": _options}}
# Checked before use: after a restart of PostgreSQL the first page is a page again, not an error.
DATABASES["default"]["CONN_HEALTH_CHECKS"] = PROCESS_KIND == "web"
if _owner:
    # `owner` owns the tables and migrates. No running process uses it; tests make and flush their database through it.
    DATABASES["default"]["TEST"] = {"MIRROR": "owner"}
    DATABASES["owner"] = {**_owner, "TEST": {"DEPENDENCIES": []}}
DATABASE_ROUTERS = ["tenants.row_security.OwnerMigrates"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ATOMIC_REQUESTS = False
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "portal_cache"}}

# ---------------------------------------------------------------- sign-in (django-allauth)
AUTH_USER_MODEL = "tenants.Person"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
PASSWORD_RESET_TIMEOUT = int(timedelta(days=3).total_seconds())
ACCOUNT_ADAPTER = "portal.sign_in.InvitationsOnly"
ACCOUNT_FORMS = {
    "change_password": "portal.sign_in_forms.ChangePassword",
    "reset_password": "portal.sign_in_forms.ResetPassword",
    "reset_password_from_key": "portal.sign_in_forms.ChoosePassword",
    "set_password": "portal.sign_in_forms.SetPassword",
}
SOCIALACCOUNT_ADAPTER = "portal.sign_in.KnownPeopleOnly"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # people are invited by e-mail or made by the provider; nobody signs up
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SESSION_REMEMBER = False  # a session ends with the browser; nothing to ask on the page
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _base.scheme
ACCOUNT_CHANGE_EMAIL = False
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXY_COUNT
SOCIALACCOUNT_ONLY = False
MFA_ADAPTER = "portal.sign_in.SecondStep"
MFA_FORMS = {
    "activate_totp": "portal.sign_in_forms.SetUpApp",
    "add_webauthn": "portal.sign_in_forms.AddKey",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not SECURE
MFA_TOTP_ISSUER = "vPlus Portal"

# ---------------------------------------------------------------- security
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not INSECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = int(timedelta(days=14).total_seconds())
SESSION_COOKIE_NAME = "vplus_portal_session"
CSRF_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = False  # the proxy in front does it, and health checks come as http
SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds()) if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = False
# A policy holds up to 5,000 virtual machines, each a field of its editor, and each of them may be confirmed to move.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 12_000
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # whether subdomains are https too is the operator's to decide, at the proxy
    "security.W008",  # see SECURE_SSL_REDIRECT
    "security.W021",
]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# ---------------------------------------------------------------- text, time, files
USE_I18N = USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = environment.optional("STATIC_ROOT") or str(BASE_DIR / ".local" / "collected")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
EMAIL_BACKEND, EMAIL_FILE_PATH = _email["EMAIL_BACKEND"], _email["EMAIL_FILE_PATH"]
EMAIL_HOST, EMAIL_PORT = _email["EMAIL_HOST"], _email["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_USER"], _email["EMAIL_HOST_PASSWORD"]
EMAIL_USE_SSL, EMAIL_USE_TLS = _email["EMAIL_USE_SSL"], _email["EMAIL_USE_TLS"]
EMAIL_TIMEOUT = 10

# ---------------------------------------------------------------- API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["portal.api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["portal.api.authentication.IsActor"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "portal.problems.api_exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "vPlus Portal API",
    "VERSION": "1",
    "DESCRIPTION": "See, back up and restore your virtual machines. A token belongs to one person in one tenant.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.api.openapi_shared.tell_what_calls_share",
    ],
}

# ---------------------------------------------------------------- jobs
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")

LOGGING_CONFIG = "portal.logs.configure"
LOGGING = logging_settings(as_json=LOG_JSON)

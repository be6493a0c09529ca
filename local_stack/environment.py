"""The environment that a local stack gives to its processes, in the names of .env.example."""

from collections.abc import Mapping
from pathlib import Path

from local_stack.folder import make_private
from local_stack.secrets_file import Secrets
from local_stack.servers import is_given

OWNER = "DATABASE_OWNER_URL"
"""Only commands get it; no running process signs in as the owner of the tables."""

_CONNECTION = (
    "VPLUS_URL",
    "VPLUS_USERNAME",
    "VPLUS_PASSWORD",
    "VPLUS_CA_BUNDLE",
    "VPLUS_TLS_NAME",
    "VPLUS_CERT_SHA256",
)
_OURS = ("ALLOWED_", "CSRF_", "DATABASE_", "DEBUG", "EMAIL_", "INSECURE_", "LOG_", "PORTAL_", "REDIS_", "SECRET_KEY")
_ALSO_OURS = (
    "AUDIT_",
    "LEDGER_",
    "LIVE_",
    "PROMETHEUS_",
    "PROTECTION_",
    "STATIC_ROOT",
    "TROUBLE_MAIL_",
    "TRUSTED_PROXY_",
    "VPLUS_",
)


def local_defaults(given: Mapping[str, str], *, folder: Path, port: int, secret_key: str) -> dict[str, str]:
    """Return a value for each setting that a local portal needs and ``given`` does not name.

    Mail is written to files, counters and collected files lie in ``folder``, and people reach it at ``localhost``.
    """
    defaults = {
        "SECRET_KEY": secret_key,
        "PORTAL_BASE_URL": f"http://localhost:{port}",
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "EMAIL_URL": f"file://{folder / 'mail'}",
        "STATIC_ROOT": str(folder / "collected"),
        "PROMETHEUS_MULTIPROC_DIR": str(make_private(folder / "metrics")),
        "LOG_JSON": "false",
    }
    return {name: value for name, value in defaults.items() if not is_given(given, name)}


def without_vplus(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what names a vPlus server, so that a demo never touches a real one.

    The dialect stays: the simulator speaks whichever the portal is set to.
    """
    names = {*_CONNECTION, *(f"{name}_FILE" for name in _CONNECTION)}
    return {name: value for name, value in given.items() if name not in names}


def simulator_connection(port: int, tls: Path, secrets: Secrets) -> dict[str, str]:
    """Return how processes reach the simulator: over HTTPS, with its own authority, verified."""
    return {
        "VPLUS_URL": f"https://localhost:{port}/api",
        "VPLUS_USERNAME": "portal",
        "VPLUS_PASSWORD": secrets.simulator_password,
        "VPLUS_CA_BUNDLE": str(tls / "ca.pem"),
    }


def for_processes(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what running processes get: everything but the owner's sign-in."""
    return {name: value for name, value in environment.items() if name not in {OWNER, f"{OWNER}_FILE"}}


def for_note(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a manage.py in another terminal needs: the portal's own variables, nothing else of this shell."""
    return {name: value for name, value in environment.items() if name.startswith(_OURS + _ALSO_OURS)}

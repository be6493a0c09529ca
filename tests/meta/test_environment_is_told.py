"""What the settings read, what .env.example tells, and what the design names are the same variables."""

import ast
import re

from tests.meta.source import ROOT, modules

DESIGNED = [
    "SECRET_KEY",
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "REDIS_URL",
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "TRUSTED_PROXY_COUNT",
    "DEBUG",
    "EMAIL_URL",
    "PORTAL_BASE_URL",
    "VPLUS_URL",
    "VPLUS_USERNAME",
    "VPLUS_PASSWORD",
    "VPLUS_CA_BUNDLE",
    "VPLUS_TLS_NAME",
    "VPLUS_CERT_SHA256",
    "VPLUS_DIALECT",
    "VPLUS_POLL_ACTIVE_SECONDS",
    "VPLUS_POLL_IDLE_SECONDS",
    "VPLUS_INVENTORY_SECONDS",
]
# Set by what starts a process, for Django or Python; the portal's settings do not read them.
OF_THE_PLATFORM = {"DJANGO_SETTINGS_MODULE"}


def read_by_settings() -> dict[str, ast.Call]:
    """Return the variables that portal/settings.py reads, each with the call that reads it."""
    found = {}
    for node in ast.walk(modules("portal")["portal/settings.py"]):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == "environment"
        ):
            name = node.args[0]
            assert isinstance(name, ast.Constant), "a variable's name stands where it is read"
            found[name.value] = node
    return found


def told() -> dict[str, str]:
    """Return the variables of .env.example, those in comments too, with what stands behind the sign."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    lines = re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    assert len(lines) == len({name for name, _ in lines}), "a variable is told twice"
    return dict(lines)


def test_each_variable_that_is_read_is_told_and_none_is_told_that_is_not_read() -> None:
    assert set(told()) == set(read_by_settings())


def test_each_variable_of_the_design_is_read() -> None:
    assert not set(DESIGNED) - set(read_by_settings())


def test_each_wait_of_sending_is_a_setting() -> None:
    assert {name for name in read_by_settings() if name.startswith("VPLUS_SETTLE_")}
    assert {name for name in read_by_settings() if name.startswith("VPLUS_SEND_")}


def test_numbers_that_are_told_as_defaults_are_the_defaults() -> None:
    for name, call in read_by_settings().items():
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr in {"number", "integer"}:
            default = call.args[1]
            assert isinstance(default, ast.Constant), name
            assert float(told()[name]) == float(default.value), f"{name} is {default.value} where nothing is set"


def test_no_secret_is_told_with_a_value() -> None:
    for name in ("SECRET_KEY", "VPLUS_PASSWORD"):
        assert told()[name] == "", name


def test_the_environment_is_read_in_one_place() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}):
                continue
            line = (ROOT / path).read_text(encoding="utf-8").splitlines()[node.lineno - 1]
            sets_only = "environ.setdefault(" in line
            assert sets_only or path == "portal/environment.py", f"{path}, line {node.lineno}"

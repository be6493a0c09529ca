"""System checks: combinations that must not run are refused at start, each with a sentence and an id."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import DatabaseError

from tenants.row_security import runtime_role_problems


@checks.register(checks.Tags.database)
def runtime_login_is_bound(
    *, app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """E001: the runtime login is bound by row-level security (docs/decisions/0002-two-locks.md)."""
    del app_configs
    if not databases or "default" not in databases:
        return []
    try:
        problems = runtime_role_problems("default")
    except DatabaseError as problem:
        return [checks.Error(f"The database does not answer: {type(problem).__name__}.", id="portal.E002")]
    return [checks.Error(problem, id="portal.E001") for problem in problems]

"""House rules of tenancy that a reader could break without noticing: read from the source, so that they hold everywhere."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.meta.source import ROOT, calls, imported, modules, names_used, run_at_import

# The wide door. Each is here because it works before a tenant is known, or for all of them; nothing else may.
OPENS_EVERY_TENANT = {
    "portal/request_scope.py": "the provider's console and API",
    "tenants/audit.py": "a refusal at the provider, which belongs to no tenant",
    "tenants/entrance.py": "who asks, before a tenant is known",
    "vplus_bridge/jobs.py": "workers serve all tenants",
    "vplus_bridge/protection_jobs.py": "workers serve all tenants",
    "vplus_bridge/mirror/*.py": "the mirror is read for all tenants at once",
    "*/management/commands/*.py": "the provider at a command line",
}
# People. Everybody else knows them by their membership, which carries name and e-mail address.
READS_PEOPLE = {
    "tenants/entrance.py": "who asks, before a tenant is known",
    "tenants/onboarding.py": "makes people",
    "tenants/models/*.py": "defines them",
    "portal/web/account.py": "one's own account",
    "portal/web/chooser.py": "where one is led after signing in",
    "*/management/commands/*.py": "the provider at a command line",
}
KNOWS_THE_SIGNED_IN = {
    "portal/request_scope.py": "turns who signed in into a member or one of the provider's people",
    "portal/web/account.py": "one's own account",
    "portal/web/chooser.py": "where one is led after signing in",
}
# Faces start from accessors (ownership/visible.py, operations/visible.py, ownership/by_provider.py), never at tables.
FACES_AT_TABLES = {
    ("portal/health.py", "ReadState"): "when vPlus was read: no tenant's data, and no tenant is known there",
    ("portal/sign_in.py", "Authenticator"): "allauth's: how many keys one has, to name the next",
    ("portal/web/account.py", "Authenticator"): "allauth's: one's own second factors",
}
TELLS_POSTGRESQL_WHO_ASKS = {"tenants/scope.py", "tenants/row_security.py"}


def listed(path: str, patterns: dict[str, str]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def managers_used(tree: ast.AST) -> list[str]:
    """Return what stands before each ``.objects`` and its relatives."""
    return [
        ast.unparse(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"objects", "_default_manager", "_base_manager"}
    ]


def test_the_wide_door_is_opened_by_listed_modules_only() -> None:
    opens = {path for path, tree in modules().items() if "every_tenant" in names_used(tree)}
    assert not {path for path in opens if not listed(path, OPENS_EVERY_TENANT)}
    unused = {pattern for pattern in OPENS_EVERY_TENANT if not any(fnmatch(path, pattern) for path in opens)}
    assert not unused, "listed, and does not open it"


def test_each_opening_of_the_wide_door_gives_a_fixed_reason() -> None:
    """A reason from data could carry a name into the log; one that is missing says nothing."""
    for path, tree in modules().items():
        constants = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in calls(tree, "every_tenant"):
            [reason] = call.args
            fixed = isinstance(reason, ast.Constant) or (isinstance(reason, ast.Name) and reason.id in constants)
            assert fixed, f"{path}, line {call.lineno}: {ast.unparse(call)}"


def test_only_the_scope_tells_postgresql_who_asks() -> None:
    """Neither the setting, nor the role, nor the variable behind the scope is touched from elsewhere."""
    for path in modules():
        if path in TELLS_POSTGRESQL_WHO_ASKS:
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not re.search(r"app\.tenant|set_config|SET (LOCAL |SESSION )?ROLE|SET SESSION AUTH", text, re.I), path
        assert "_current" not in imported(modules()[path]), path
        assert "PROVIDER_ROLE" not in names_used(modules()[path]), path


def test_people_are_read_by_listed_modules_only() -> None:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom):
                continue
            names = {alias.name for alias in node.names}
            row = "Person" in names and (node.module or "").startswith("tenants.models")
            assert not (row or "get_user_model" in names) or listed(path, READS_PEOPLE), f"{path}, line {node.lineno}"


def test_nothing_reaches_people_across_a_join() -> None:
    """select_related("person") or person__email would read the table of people without naming it."""
    for path, tree in modules().items():
        if listed(path, READS_PEOPLE):
            continue
        for node in ast.walk(tree):
            text = node.arg if isinstance(node, ast.keyword) else getattr(node, "value", None)
            if isinstance(node, ast.Constant | ast.keyword) and isinstance(text, str):
                assert not re.search(r"(^|__)person__|__person$", text), f"{path}, line {node.lineno}: {text}"
        for call in [*calls(tree, "select_related"), *calls(tree, "prefetch_related")]:
            assert not any(isinstance(a, ast.Constant) and "person" in str(a.value) for a in call.args), path


def test_who_signed_in_is_asked_at_the_entrance_only() -> None:
    asks = {
        path
        for path, tree in modules("portal").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "user" and ast.unparse(node.value).endswith("request")
    }
    assert asks == set(KNOWS_THE_SIGNED_IN)


def test_faces_start_from_accessors_and_never_at_tables() -> None:
    found = {(path, before) for path, tree in modules("portal").items() for before in managers_used(tree)}
    assert found == set(FACES_AT_TABLES)


def test_faces_write_no_sql() -> None:
    for path, tree in modules("portal").items():
        for name in ("cursor", "raw", "RawSQL", "extra", "QuerySet"):
            assert not calls(tree, name), f"{path} calls {name}"


def test_nobody_goes_round_the_manager() -> None:
    """A query built without the manager is not filtered, and raises nowhere."""
    allowed = {
        ("vplus_bridge/mirror/small_listing.py", "model"): "whichever table a listing is for, by its default manager"
    }
    found = {
        (path, before)
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"_default_manager", "_base_manager"}
        for before in [ast.unparse(node.value)]
    }
    assert found == set(allowed)
    for path, tree in modules().items():
        assert not calls(tree, "QuerySet"), path
        assert path == "tenants/scope.py" or not {"Manager", "_base_manager"} & imported(tree), path


def test_no_query_is_built_while_a_module_is_imported() -> None:
    for path, tree in modules().items():
        for node in run_at_import(tree):
            early = isinstance(node, ast.Attribute) and node.attr in {"objects", "_default_manager", "_base_manager"}
            assert not early, f"{path}, line {getattr(node, 'lineno', '?')}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("source", "early"),
    [
        ("rows = Thing.objects.all()", True),
        ("class Form:\n    queryset = Thing.objects.all()", True),
        ("def f(rows=Thing.objects.all()): ...", True),
        ("@given(Thing.objects.all())\ndef f(): ...", True),
        ("def f():\n    return Thing.objects.all()", False),
        ("class Form:\n    def rows(self):\n        return Thing.objects.all()", False),
        ("rows = lambda: Thing.objects.all()", False),
    ],
)
def test_what_runs_at_import_is_told_from_what_does_not(source: str, early: bool) -> None:
    found = any(isinstance(node, ast.Attribute) and node.attr == "objects" for node in run_at_import(ast.parse(source)))
    assert found == early


def test_the_faces_own_no_table() -> None:
    assert not (ROOT / "portal" / "models.py").exists()
    assert not (ROOT / "portal" / "migrations").exists()
    for path, tree in modules("portal").items():
        bases = {ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
        assert not {base for base in bases if base.endswith("models.Model") or base == "TenantOwned"}, path


def test_each_list_of_exceptions_names_files_that_are_there() -> None:
    paths = set(modules())
    for patterns in (OPENS_EVERY_TENANT, READS_PEOPLE, KNOWS_THE_SIGNED_IN):
        assert not {pattern for pattern in patterns if not any(fnmatch(path, pattern) for path in paths)}
    assert all(Path(ROOT, path).is_file() for path, _ in FACES_AT_TABLES)

"""The runtime login is bound by the policies, and the portal refuses to start with one that is not."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.db import connection, connections

from local_stack.folder import make_data_folder
from local_stack.postgres_server import PostgresServer
from tenants.row_security import runtime_role_problems

ROOT = Path(__file__).resolve().parents[2]

LOGINS = """
CREATE ROLE almighty LOGIN SUPERUSER;
CREATE ROLE bypassing LOGIN BYPASSRLS NOINHERIT; GRANT portal_provider TO bypassing WITH INHERIT FALSE;
CREATE ROLE owning LOGIN NOINHERIT; GRANT portal_provider TO owning WITH INHERIT FALSE;
CREATE TABLE its_own (id int); ALTER TABLE its_own OWNER TO owning;
CREATE ROLE outsider LOGIN;
CREATE ROLE inheriting LOGIN; GRANT portal_provider TO inheriting WITH INHERIT TRUE;
GRANT CONNECT ON DATABASE portal TO bypassing, owning, outsider, inheriting;
"""


@pytest.fixture(scope="module")
def careless_server() -> Iterator[PostgresServer]:
    """A server of its own, with every kind of login that must not be used; ours has no such logins, and no superuser."""
    name = tempfile.mkdtemp(prefix="vplus-portal-test-", dir="/var/tmp")
    root = make_data_folder(Path(name))
    server = PostgresServer(root / "postgres", shelf=root)
    server.start()
    with psycopg.connect(server.url("postgres"), autocommit=True) as superuser:
        superuser.execute(LOGINS)
    yield server
    server.stop()
    shutil.rmtree(name)


def problems_of(server: PostgresServer, role: str, unblocker: Any) -> list[str]:
    """Ask the check about a login of that server."""
    given = connections.settings["default"]
    connections.settings["probe"] = {
        **given, "NAME": "portal", "USER": role, "PASSWORD": "", "HOST": str(server.folder), "PORT": "", "OPTIONS": {}
    }  # fmt: skip
    try:
        with unblocker.unblock():
            return runtime_role_problems("probe")
    finally:
        connections["probe"].close()
        del connections["probe"]
        del connections.settings["probe"]


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("almighty", "a superuser, whom row-level security does not bind"),
        ("bypassing", "may bypass row-level security"),
        ("owning", "owns tables"),
        ("outsider", "is not a member of portal_provider"),
        ("inheriting", "inherits portal_provider, which opens every tenant"),
    ],
)
def test_a_login_that_must_not_be_used_is_told_in_a_sentence(
    role: str, words: str, careless_server: PostgresServer, django_db_blocker: Any
) -> None:
    [problem, *others] = problems_of(careless_server, role, django_db_blocker)
    assert words in problem
    assert role in problem
    assert not others or role == "almighty"


def test_the_login_that_is_meant_passes_on_that_server_too(
    careless_server: PostgresServer, django_db_blocker: Any
) -> None:
    assert problems_of(careless_server, "portal", django_db_blocker) == []


def test_the_tests_themselves_run_as_the_runtime_login(database: None) -> None:
    assert runtime_role_problems("default") == []
    assert "owns tables" in runtime_role_problems("owner")[0]
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, session_user")
        assert cursor.fetchone() == ("portal", "portal")


def test_the_providers_role_cannot_sign_in_and_is_not_inherited(database: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT rolcanlogin, rolsuper, rolbypassrls, pg_has_role('portal', oid, 'USAGE'), pg_has_role('portal', oid, 'SET')
            FROM pg_roles WHERE rolname = 'portal_provider'
            """
        )
        assert cursor.fetchone() == (False, False, False, False, True)
    given = connections["default"].get_connection_params()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(
            dbname=given["dbname"], user="portal_provider", password=given.get("password"), host=given.get("host"),
            port=given.get("port"),
        )  # fmt: skip


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    """Run the start-up check as an operator would, with some variables changed."""
    given = {**os.environ, "PORTAL_PROCESS": "web", **environment}
    command = [sys.executable, "manage.py", "check", "--database", "default"]
    return subprocess.run(command, cwd=ROOT, env=given, check=False, capture_output=True, text=True, timeout=60)


def test_the_start_up_check_refuses_the_owner_and_accepts_the_runtime_login(database: None) -> None:
    name = connections["default"].settings_dict["NAME"]

    def address(variable: str) -> str:
        return urlunsplit(urlsplit(os.environ[variable])._replace(path=f"/{name}"))

    good = check(DATABASE_URL=address("DATABASE_URL"))
    assert good.returncode == 0, good.stderr
    wrong = check(DATABASE_URL=address("DATABASE_OWNER_URL"))
    assert wrong.returncode != 0
    assert "portal.E001" in wrong.stderr
    assert "owns tables; use the login that owns nothing" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_the_start_up_check_says_when_the_database_does_not_answer(tmp_path: Path) -> None:
    away = check(DATABASE_URL=f"postgresql://portal@/portal?host={tmp_path}")
    assert away.returncode != 0
    assert "portal.E002" in away.stderr
    assert "The database does not answer" in away.stderr
    assert "Traceback" not in away.stderr

"""The roles of deploy/roles.sql, as the embedded server makes them."""

import psycopg
import pytest

from local_stack.postgres_server import PostgresServer


def ask(postgres: PostgresServer, role: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(postgres.url(role)) as connection:
        return connection.execute(statement).fetchall()


def test_no_role_of_ours_has_a_right_that_row_level_security_does_not_bind(postgres: PostgresServer) -> None:
    rows = ask(
        postgres,
        "portal",
        """
        SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit FROM pg_roles
        WHERE rolname IN ('owner', 'portal', 'portal_provider') ORDER BY rolname
        """,
    )
    assert rows == [
        ("owner", True, False, False, False, False, True),
        ("portal", True, False, False, False, False, False),
        ("portal_provider", False, False, False, False, False, True),
    ]


def test_portal_takes_the_providers_role_on_and_inherits_nothing_of_it(postgres: PostgresServer) -> None:
    rows = ask(
        postgres,
        "portal",
        """
        SELECT inherit_option, set_option, admin_option FROM pg_auth_members
        WHERE roleid = 'portal_provider'::regrole AND member = 'portal'::regrole
        """,
    )
    assert rows == [(False, True, False)]
    with psycopg.connect(postgres.url("portal")) as connection:
        connection.execute("SET LOCAL ROLE portal_provider")
        assert connection.execute("SELECT current_user").fetchone() == ("portal_provider",)


def test_the_database_is_the_owners_and_open_to_portal_alone(postgres: PostgresServer) -> None:
    rows = ask(
        postgres,
        "owner",
        """
        SELECT datdba::regrole::text, has_database_privilege('portal', oid, 'CONNECT'),
               has_database_privilege('portal', oid, 'TEMPORARY'), has_database_privilege('portal', oid, 'CREATE'),
               has_database_privilege('portal_provider', oid, 'CONNECT')
        FROM pg_database WHERE datname = 'portal'
        """,
    )
    assert rows == [("owner", True, True, False, False)]


def test_portal_makes_no_tables_and_the_owner_does(postgres: PostgresServer) -> None:
    with psycopg.connect(postgres.url("portal")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("CREATE TABLE mine (id int)")
    with psycopg.connect(postgres.url("owner")) as connection:
        connection.execute("CREATE TABLE mine (id int)")
        connection.rollback()


def test_the_owner_cannot_sign_in_as_the_provider(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(postgres.url("portal_provider"))


def test_it_is_reached_by_its_socket_only_in_a_closed_folder(postgres: PostgresServer) -> None:
    assert ask(postgres, "portal", "SHOW listen_addresses") == [("",)]
    assert postgres.folder.stat().st_mode & 0o777 == 0o700

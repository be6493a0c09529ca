"""The second lock: PostgreSQL's row-level security, as migration operations that stand beside the table they guard.

Three roles (docs/decisions/0002-two-locks.md): `owner` owns the tables and migrates, `portal` is the only runtime
login and owns nothing, `portal_provider` cannot log in and is taken on for one transaction by `every_tenant`.
"""

from typing import Any

from django.db import connections, migrations
from django.db.backends.base.base import BaseDatabaseWrapper

TENANT_IN_SCOPE = "nullif(current_setting('app.tenant', true), '')::uuid"

GRANTS = """
GRANT USAGE ON SCHEMA public TO portal, portal_provider;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO portal, portal_provider;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO portal, portal_provider;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO portal, portal_provider;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO portal, portal_provider;
"""


class OwnerMigrates:
    """Database router: tables are made and changed through the alias `owner` only."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Return True for `owner`; `migrate` without `--database owner` therefore changes nothing."""
        del app_label, hints
        return db == "owner"


def grant_runtime_roles() -> migrations.RunSQL:
    """Return the operation that lets the runtime roles use tables that exist and those still to come."""
    return migrations.RunSQL(GRANTS, migrations.RunSQL.noop)


def guard_by_tenant(table: str, *, column: str = "tenant_id") -> migrations.RunSQL:
    """Return the operation that closes a table to all but the tenant in scope, and opens it to the provider's role."""
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        CREATE POLICY tenant_in_scope ON {table} TO portal
            USING ({column} = {TENANT_IN_SCOPE}) WITH CHECK ({column} = {TENANT_IN_SCOPE});
        CREATE POLICY provider ON {table} TO portal_provider USING (true) WITH CHECK (true);
        """,
        f"""
        DROP POLICY provider ON {table};
        DROP POLICY tenant_in_scope ON {table};
        ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
        """,
    )


def guard_for_provider(table: str) -> migrations.RunSQL:
    """Return the operation that closes a table to every tenant: only the provider's role sees its rows."""
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        CREATE POLICY provider ON {table} TO portal_provider USING (true) WITH CHECK (true);
        """,
        f"DROP POLICY provider ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
    )


def append_only(table: str) -> migrations.RunSQL:
    """Return the operation after which the runtime login can add rows to a table but never change or remove them."""
    return migrations.RunSQL(
        f"REVOKE UPDATE, DELETE ON {table} FROM portal; REVOKE UPDATE ON {table} FROM portal_provider;",
        f"GRANT UPDATE, DELETE ON {table} TO portal; GRANT UPDATE ON {table} TO portal_provider;",
    )


def pointer_within_tenant(table: str, column: str, target: str, *, target_column: str = "id") -> migrations.RunSQL:
    """Return the operation for a composite foreign key: a row can point only at a row of its own tenant."""
    name = f"{table}_{column}_same_tenant"
    unique = f"{target}_{target_column}_of_tenant"
    return migrations.RunSQL(
        f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = '{unique}') THEN
                ALTER TABLE {target} ADD CONSTRAINT {unique} UNIQUE (tenant_id, {target_column});
            END IF;
        END $$;
        ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (tenant_id, {column})
            REFERENCES {target} (tenant_id, {target_column}) DEFERRABLE INITIALLY DEFERRED;
        """,
        f"ALTER TABLE {table} DROP CONSTRAINT {name};",
    )


def runtime_role_problems(using: str = "default") -> list[str]:
    """Return why the runtime login must not be used, in sentences; empty where row-level security binds it."""
    database: BaseDatabaseWrapper = connections[using]
    with database.cursor() as cursor:
        cursor.execute(
            """
            SELECT rolname, rolsuper, rolbypassrls,
                   EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid AND relkind IN ('r', 'p')),
                   pg_has_role(current_user, %s, 'MEMBER'), pg_has_role(current_user, %s, 'USAGE')
            FROM pg_roles WHERE rolname = current_user
            """,
            ["portal_provider", "portal_provider"],
        )
        row = cursor.fetchone()
    if row is None:
        return ["The database login could not be looked up."]
    name, superuser, bypasses, owns, member, inherits = row
    problems = []
    if superuser:
        problems.append(f"DATABASE_URL signs in as {name}, a superuser, whom row-level security does not bind.")
    if bypasses:
        problems.append(f"DATABASE_URL signs in as {name}, who may bypass row-level security.")
    if owns:
        problems.append(f"DATABASE_URL signs in as {name}, who owns tables; use the login that owns nothing.")
    if not member:
        problems.append(
            f"{name} is not a member of portal_provider; GRANT portal_provider TO {name} WITH INHERIT FALSE."
        )
    elif inherits and not superuser:
        problems.append(f"{name} inherits portal_provider, which opens every tenant; grant it WITH INHERIT FALSE.")
    return problems

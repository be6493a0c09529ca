"""The second lock by itself: plain SQL and managers that filter nothing, as the runtime login.

Tables are found in the model registry and in PostgreSQL's own catalogue, so that a new one without a policy fails here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, connections, models, transaction
from django.utils import timezone

from tenants.models import AuditEvent, Tenant
from tenants.row_security import TENANT_IN_SCOPE
from tenants.scope import TenantOwned, every_tenant, in_tenant
from tests.conftest import Cast
from tests.tenancy.conftest import OneOfEach
from tests.tenancy.tables import (
    OPEN,
    PROVIDER_ONLY,
    Model,
    as_text,
    guarded_models,
    make_row,
    may_be_nobodys,
    our_models,
    owned_models,
    rows_of,
    table,
    tenant_column,
    unsaved,
)
from vplus_bridge.mirror.models import InfrastructureItem, InfrastructureKind
from vplus_bridge.models import AllowedRestoreTarget, VirtualMachine

# Tables of the libraries: no row of a tenant is in them. A new table has to be thought about and put here, or guarded.
OF_LIBRARIES = {
    "account_emailaddress": "allauth: addresses of people who sign in",
    "account_emailconfirmation": "allauth",
    "auth_group": "django.contrib.auth: not used",
    "auth_group_permissions": "django.contrib.auth: not used",
    "auth_permission": "django.contrib.auth: not used",
    "django_content_type": "names of models",
    "django_migrations": "names of migrations",
    "django_session": "browser sessions",
    "mfa_authenticator": "allauth: second factors of people who sign in",
    "portal_cache": "rate limits and used codes",
    "socialaccount_socialaccount": "allauth",
    "socialaccount_socialapp": "allauth",
    "socialaccount_socialtoken": "allauth",
    "usersessions_usersession": "allauth: sessions of people who sign in",
}
# What tenants may read of the provider's tables, by policies with tests of their own below.
READ_BESIDE: dict[Model, set[str]] = {InfrastructureItem: {"place_of_target"}}


@contextmanager
def told(tenant: Any) -> Iterator[Any]:
    """Tell PostgreSQL a tenant (None: none) and nothing to the ORM; yields a cursor; what is done is rolled back."""
    with transaction.atomic(), connection.cursor() as cursor:
        if tenant is not None:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant.pk)])
        yield cursor
        transaction.set_rollback(True)


def refused(tenant: Any, statement: str, parameters: Any = ()) -> bool:
    """Tell whether PostgreSQL refuses a statement for want of a right or by a policy."""
    with told(tenant) as cursor:
        try:
            with transaction.atomic():
                cursor.execute(statement, parameters)
        except ProgrammingError as problem:
            if isinstance(problem.__cause__, psycopg.errors.InsufficientPrivilege):
                return True
            raise
    return False


def changed(tenant: Any, statement: str, parameters: Any = ()) -> int:
    """Return how many rows a statement changes."""
    with told(tenant) as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def writable(model: Model) -> bool:
    """Whether the runtime login may change rows at all; the audit is added to and never changed."""
    return model is not AuditEvent


def columns(row: models.Model) -> tuple[str, list[Any]]:
    """Return the columns of a row, ready for an INSERT, and what goes into them."""
    given = [field for field in row._meta.concrete_fields if not field.generated]
    fields = [field for field in given if field.attname != "id" or row.pk is not None]
    names = ", ".join(f'"{field.column}"' for field in fields)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
    return f"({names}) VALUES ({', '.join(['%s'] * len(fields))})", values


def test_every_model_is_guarded_or_the_providers_or_open_for_a_reason() -> None:
    assert {*guarded_models(), *PROVIDER_ONLY, *OPEN} == set(our_models())
    assert not PROVIDER_ONLY & set(guarded_models())
    assert all(OPEN.values())


def test_every_table_of_the_database_is_known_and_the_policies_are_the_ones_meant(database: None) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, c.relrowsecurity, pg_get_userbyid(c.relowner) FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')
            """
        )
        found = {name: (guarded, owner) for name, guarded, owner in cursor.fetchall()}
        cursor.execute(
            """
            SELECT tablename, policyname, permissive, roles::text[], cmd, qual, with_check
            FROM pg_policies WHERE schemaname = 'public'
            """
        )
        policies: dict[str, dict[str, tuple[Any, ...]]] = {}
        for name, policy, *rest in cursor.fetchall():
            policies.setdefault(name, {})[policy] = tuple(rest)
    ours, open_ones = {table(model) for model in our_models()}, {table(model) for model in OPEN}
    assert set(found) == ours | set(OF_LIBRARIES), "a table that nobody thought about"
    assert {owner for _, owner in found.values()} == {"owner"}
    assert {name for name, (guarded, _) in found.items() if guarded} == ours - open_ones
    assert set(policies) == ours - open_ones
    provider = ("PERMISSIVE", ["portal_provider"], "ALL", "true", "true")
    for model in guarded_models():
        mine = policies[table(model)]
        assert mine.keys() == {"provider", "tenant_in_scope"}, table(model)
        assert mine["provider"] == provider
        permissive, roles, command, using, checking = mine["tenant_in_scope"]
        assert (permissive, roles, command) == ("PERMISSIVE", ["portal"], "ALL")
        assert using == checking
        assert plain(using) == plain(f"{tenant_column(model)} = {TENANT_IN_SCOPE}"), table(model)
    for model in PROVIDER_ONLY:
        extra = READ_BESIDE.get(model, set())
        mine = policies[table(model)]
        assert mine.keys() == {"provider", *extra}, table(model)
        assert mine["provider"] == provider
        for name in extra:
            permissive, roles, command, _using, checking = mine[name]
            assert (permissive, roles, command, checking) == ("PERMISSIVE", ["portal"], "SELECT", None), table(model)


def plain(expression: str) -> str:
    """An expression without what PostgreSQL writes differently from us."""
    for word in ("::text", "(", ")", " "):
        expression = expression.replace(word, "")
    return expression.lower()


def test_nothing_in_the_database_goes_round_the_policies(database: None) -> None:
    """TRUNCATE asks no policy, a view or a function of the owner's would read as the owner."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, r.rolname, p FROM pg_class c, pg_roles r, unnest(ARRAY['TRUNCATE', 'TRIGGER', 'REFERENCES']) p
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                AND r.rolname IN ('portal', 'portal_provider') AND has_table_privilege(r.oid, c.oid, p)
            """
        )
        assert cursor.fetchall() == []
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')"
        )
        assert cursor.fetchall() == []
        cursor.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef")
        assert cursor.fetchall() == []
        cursor.execute(
            "SELECT r, has_schema_privilege(r, 'public', 'CREATE') FROM unnest(ARRAY['portal', 'portal_provider']) r"
        )
        assert cursor.fetchall() == [("portal", False), ("portal_provider", False)]


def test_a_tenant_sees_its_own_rows_and_no_others(cast: Cast, one_of_each: OneOfEach) -> None:
    for model in guarded_models():
        with every_tenant("test"):
            everything = set(rows_of(model))
        with told(cast.alpha):
            seen = rows_of(model, tenant_column(model))
        assert set(seen) == {cast.alpha.pk}, f"{model.__name__}: Alpha sees {seen}"
        for side in (one_of_each.alpha, one_of_each.beta, one_of_each.nobody):
            assert model not in side or side[model].pk in everything, "the rows that are hidden do exist"


def test_managers_that_filter_nothing_see_no_more(
    cast: Cast, one_of_each: OneOfEach, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.scope.TenantManager.get_queryset", models.Manager.get_queryset)
    for model in owned_models():
        manager: Any = model._default_manager
        with in_tenant(cast.alpha):
            assert set(manager.values_list("tenant_id", flat=True)) == {cast.alpha.pk}, model.__name__
            assert not manager.filter(pk=one_of_each.beta[model].pk).exists(), model.__name__
            crossing = [field.name for field in model._meta.concrete_fields if field.is_relation]
            everything = models.QuerySet(model).select_related(*crossing)
            assert {row.tenant_id for row in everything} == {cast.alpha.pk}, model.__name__
        assert not manager.exists(), f"{model.__name__}: with no scope there are rows"


def test_with_no_tenant_told_there_are_no_rows(cast: Cast, one_of_each: OneOfEach) -> None:
    for model in guarded_models():
        with told(None):
            assert rows_of(model) == [], model.__name__
        assert rows_of(model) == [], f"{model.__name__}, outside a transaction"
    with told(cast.alpha) as cursor:
        cursor.execute("SELECT set_config('app.tenant', '', true)")
        for model in guarded_models():
            assert rows_of(model) == [], f"{model.__name__}, with an empty setting"


def test_a_tenant_changes_and_removes_no_row_of_another(cast: Cast, one_of_each: OneOfEach) -> None:
    for model in filter(writable, guarded_models()):
        name, key, owner = table(model), model._meta.pk.column, tenant_column(model)  # type: ignore[union-attr]
        for side in (one_of_each.beta, one_of_each.nobody):
            if model not in side:
                continue
            theirs = as_text(side[model].pk)
            touched = f'UPDATE "{name}" SET "{owner}" = "{owner}" WHERE "{key}" = %s'
            assert changed(cast.alpha, touched, [theirs]) == 0, model.__name__
            assert changed(cast.alpha, f'DELETE FROM "{name}" WHERE "{key}" = %s', [theirs]) == 0, model.__name__
            assert changed(None, touched, [theirs]) == 0, model.__name__
            assert changed(None, f'DELETE FROM "{name}" WHERE "{key}" = %s', [theirs]) == 0, model.__name__
        mine = [as_text(one_of_each.alpha[model].pk)]
        assert changed(cast.alpha, f'UPDATE "{name}" SET "{owner}" = "{owner}" WHERE "{key}" = %s', mine) == 1


def test_a_tenant_moves_no_row_to_another_and_takes_none(cast: Cast, one_of_each: OneOfEach) -> None:
    for model in filter(writable, owned_models()):
        name, mine = table(model), as_text(one_of_each.alpha[model].pk)
        key = model._meta.pk.column  # type: ignore[union-attr]
        move = f'UPDATE "{name}" SET tenant_id = %s WHERE "{key}" = %s'
        assert refused(cast.alpha, move, [str(cast.beta.pk), mine]), f"{model.__name__} was given to Beta"
        if may_be_nobodys(model):
            assert refused(cast.alpha, move, [None, mine]), f"{model.__name__} was given to nobody"
        with every_tenant("test"):
            its_own = rows_of(model, "tenant_id").count(cast.alpha.pk)
        taken = changed(cast.alpha, f'UPDATE "{name}" SET tenant_id = %s', [str(cast.alpha.pk)])
        assert taken == its_own, f"{model.__name__}: Alpha took rows"


def test_a_tenant_adds_no_row_for_another_or_for_nobody(cast: Cast, one_of_each: OneOfEach) -> None:
    for model in owned_models():
        given = {} if model is not AuditEvent else {"action": "forged"}
        for owner in [cast.beta, *([None] if may_be_nobodys(model) else [])]:
            names, values = columns(unsaved(model, owner, **given))
            statement = f'INSERT INTO "{table(model)}" {names}'
            assert refused(cast.alpha, statement, values), f"{model.__name__} for {owner} by Alpha"
            assert refused(None, statement, values), f"{model.__name__} for {owner} with no tenant told"
        if not any(isinstance(field, models.BigAutoField) for field in model._meta.concrete_fields):
            names, values = columns(unsaved(model, cast.alpha, **given))
            assert changed(cast.alpha, f'INSERT INTO "{table(model)}" {names}', values) == 1, "its own it may add"
    names, values = columns(Tenant(slug="delta", name="Delta"))
    assert refused(cast.alpha, f"INSERT INTO tenants_tenant {names}", values)


def test_an_upsert_over_a_hidden_row_is_refused(cast: Cast) -> None:
    make_row(VirtualMachine, cast.beta, guid="vm-1", name="theirs")
    names, values = columns(unsaved(VirtualMachine, cast.alpha, guid="vm-1", name="mine"))
    upsert = f"INSERT INTO vplus_bridge_virtualmachine {names} ON CONFLICT (guid) DO UPDATE SET name = excluded.name"
    assert refused(cast.alpha, upsert, values)
    with every_tenant("test"):
        assert VirtualMachine.objects.get(guid="vm-1").name == "theirs"


def test_the_providers_tables_are_closed_to_tenants(cast: Cast) -> None:
    for model in PROVIDER_ONLY:
        row = make_row(model, None)
        key = model._meta.pk.column  # type: ignore[union-attr]
        for tenant in (cast.alpha, None):
            with told(tenant):
                assert rows_of(model) == [], model.__name__
            assert changed(tenant, f'UPDATE "{table(model)}" SET "{key}" = "{key}"') == 0, model.__name__
            assert changed(tenant, f'DELETE FROM "{table(model)}"') == 0, model.__name__
            names, values = columns(unsaved(model, None))
            assert refused(tenant, f'INSERT INTO "{table(model)}" {names}', values), model.__name__
        with every_tenant("test"):
            assert rows_of(model) == [row.pk]


def pointers() -> list[tuple[Model, "models.ForeignKey[Any, Any]"]]:
    """Every foreign key from a tenant's row to a tenant's row."""
    return [
        (model, field)
        for model in owned_models()
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey) and issubclass(field.related_model, TenantOwned)  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("wide", [True, False])
def test_no_row_points_at_a_row_of_another_tenant(wide: bool, cast: Cast, one_of_each: OneOfEach) -> None:
    """Foreign keys ask no policy; a composite one holds, also against the provider's role and the owner himself."""
    assert len(pointers()) >= 4, "they are found"
    for model, field in pointers():
        theirs = one_of_each.beta[field.related_model]  # type: ignore[index]
        move = f'UPDATE "{table(model)}" SET "{field.column}" = %s WHERE "{model._meta.pk.column}" = %s'  # type: ignore[union-attr]
        mine = [as_text(theirs.pk), as_text(one_of_each.alpha[model].pk)]
        with (
            pytest.raises(IntegrityError, match="same_tenant"),
            every_tenant("test") if wide else in_tenant(cast.alpha),
            connection.cursor() as cursor,
        ):
            cursor.execute(move, mine)
            assert cursor.rowcount == 1
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(IntegrityError, match="same_tenant"):
            make_row(model, cast.alpha, **{field.attname: theirs.pk})


def test_the_audit_is_added_to_and_never_changed(cast: Cast, one_of_each: OneOfEach) -> None:
    kept = as_text(one_of_each.alpha[AuditEvent].pk)
    for statement in (
        "UPDATE tenants_auditevent SET action = 'forged' WHERE id = %s",
        "DELETE FROM tenants_auditevent WHERE id = %s",
    ):
        assert refused(cast.alpha, statement, [kept]), statement
        assert refused(None, statement, [kept]), statement
    assert refused(cast.alpha, "TRUNCATE tenants_auditevent")
    for statement in ("UPDATE tenants_auditevent SET action = 'forged' WHERE id = %s", "TRUNCATE tenants_auditevent"):
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            every_tenant("test"),
            connection.cursor() as wide,
        ):
            wide.execute(statement, [kept] if "%s" in statement else None)
    with every_tenant("test"), pytest.raises(DatabaseError, match="permission denied"):
        AuditEvent.objects.get(pk=kept).save()


def test_a_tenant_that_is_only_told_by_a_setting_of_the_session_does_not_outlive_it(cast: Cast) -> None:
    """The scope tells PostgreSQL for the transaction only: a pooled connection hands nobody's tenant on."""
    with in_tenant(cast.alpha):
        assert rows_of(Tenant) == [cast.alpha.pk]
    assert rows_of(Tenant) == []
    with every_tenant("test"):
        assert len(rows_of(Tenant)) == 3
    assert rows_of(Tenant) == []


def test_of_the_platforms_a_tenant_sees_the_places_that_its_own_targets_name(cast: Cast) -> None:
    """By plain SQL, so that it is PostgreSQL that says so; without a tenant nothing is seen, and nothing can be written."""
    with every_tenant("test"):
        for number, kind in enumerate(InfrastructureKind.values):
            for owner in ("ours", "theirs"):
                InfrastructureItem.objects.create(
                    guid=f"{owner}-{kind}", uuid=f"{owner}-{kind}", kind=kind, name=kind, changed_at=timezone.now()
                )
            # the other kinds' ids, and none at all, lead nowhere
            InfrastructureItem.objects.create(
                guid=f"odd-{number}", uuid="", kind=kind, name="odd", changed_at=timezone.now()
            )
        for tenant, owner in ((cast.alpha, "ours"), (cast.beta, "theirs")):
            for which in ("manager", "hypervisor"):
                AllowedRestoreTarget.objects.create(
                    tenant=tenant,
                    label=which,
                    cluster_uuid=f"{owner}-cluster",
                    storage_uuid=f"{owner}-storage",
                    **{f"{which}_guid": f"{owner}-{which}"},
                )
    every = "SELECT guid FROM vplus_bridge_infrastructureitem ORDER BY guid"
    for tenant, seen in (
        (cast.alpha, ["ours-cluster", "ours-hypervisor", "ours-manager", "ours-storage"]),
        (cast.beta, ["theirs-cluster", "theirs-hypervisor", "theirs-manager", "theirs-storage"]),
        (cast.gamma, []),
        (None, []),
    ):
        with told(tenant) as cursor:
            cursor.execute(every)
            assert [guid for (guid,) in cursor.fetchall()] == seen
            cursor.execute("UPDATE vplus_bridge_infrastructureitem SET name = 'mine'")
            assert cursor.rowcount == 0

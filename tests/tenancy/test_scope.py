"""The first lock: without a tenant in scope every way to the rows raises, and a scope ends where it was opened."""

import logging
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.transaction import TransactionManagementError

from tenants.models import Grant, Membership, Tenant
from tenants.scope import (
    TenantManager,
    TenantOwned,
    TenantScopeMissing,
    WrongTenant,
    current_scope,
    every_tenant,
    in_tenant,
    scoped_tenant_id,
)
from tests.conftest import Cast
from tests.tenancy.conftest import OneOfEach
from tests.tenancy.tables import guarded_models, make_row, our_models, owned_models, unsaved
from vplus_bridge.models import VirtualMachine

Model = type[models.Model]

ENTRIES: dict[str, Callable[[Any], Any]] = {
    "all": lambda model: list(model.objects.all()),
    "filter": lambda model: list(model.objects.filter(pk=None)),
    "exclude": lambda model: list(model.objects.exclude(pk=None)),
    "get": lambda model: model.objects.get(pk=uuid4()),
    "first": lambda model: model.objects.first(),
    "last": lambda model: model.objects.last(),
    "latest": lambda model: model.objects.latest("pk"),
    "exists": lambda model: model.objects.exists(),
    "contains": lambda model: model.objects.contains(model()),
    "count": lambda model: model.objects.count(),
    "aggregate": lambda model: model.objects.aggregate(n=models.Count("pk")),
    "annotate": lambda model: list(model.objects.annotate(n=models.Count("pk"))),
    "values": lambda model: list(model.objects.values("pk")),
    "values_list": lambda model: list(model.objects.values_list("pk")),
    "in_bulk": lambda model: model.objects.in_bulk(["1"]),
    "iterator": lambda model: list(model.objects.iterator()),
    "explain": lambda model: model.objects.explain(),
    "select_related": lambda model: list(model.objects.select_related()),
    "select_for_update": lambda model: list(model.objects.select_for_update()),
    "using": lambda model: list(model.objects.using("default")),
    "raw": lambda model: list(model.objects.raw(f"SELECT * FROM {model._meta.db_table}")),
    "update": lambda model: model.objects.update(pk=None),
    "delete": lambda model: model.objects.all().delete(),
    "create": lambda model: model.objects.create(),
    "bulk_create": lambda model: model.objects.bulk_create([model()]),
    "bulk_update": lambda model: model.objects.bulk_update([], ["pk"]),
    "get_or_create": lambda model: model.objects.get_or_create(pk=uuid4()),
    "update_or_create": lambda model: model.objects.update_or_create(pk=uuid4()),
    "save": lambda model: model().save(),
    "refresh_from_db": lambda model: model(pk=uuid4()).refresh_from_db(),
    "the base manager": lambda model: list(model._base_manager.all()),
    "the default manager": lambda model: list(model._default_manager.all()),
}


def setting() -> tuple[str, str]:
    """Return what PostgreSQL is told at this moment: the role, and the tenant."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, coalesce(current_setting('app.tenant', true), '')")
        role, tenant = cursor.fetchone()
    return role, tenant


def test_without_a_scope_every_entry_raises_for_every_model(one_of_each: OneOfEach) -> None:
    answered = []
    for model in guarded_models():
        for entry, ask in ENTRIES.items():
            try:
                answer = ask(model)
            except TenantScopeMissing:
                continue
            answered.append((model.__name__, entry, answer))
    assert not answered, "answered with no tenant in scope"


def test_pointers_and_the_rows_behind_them_raise_without_a_scope(one_of_each: OneOfEach) -> None:
    answered = []
    for model, row in one_of_each.alpha.items():
        again = type(row)(pk=row.pk)
        for field in model._meta.get_fields():
            if field.is_relation and field.auto_created and not field.concrete:
                try:
                    list(getattr(again, field.get_accessor_name()).all())  # type: ignore[union-attr]
                except TenantScopeMissing:
                    continue
                answered.append((model.__name__, field.name))
            elif isinstance(field, models.ForeignKey) and field.related_model in guarded_models():
                setattr(again, field.attname, getattr(row, field.attname))
                try:
                    getattr(again, field.name)
                except TenantScopeMissing:
                    continue
                answered.append((model.__name__, field.name))
    assert not answered


def test_deleting_a_row_without_a_scope_removes_nothing(one_of_each: OneOfEach) -> None:
    """Django deletes a row that nothing points at without asking a manager; the second lock holds there."""
    for model, row in one_of_each.alpha.items():
        if model is Tenant:
            continue
        try:
            type(row).delete(row.__class__(pk=row.pk))
        except (TenantScopeMissing, DatabaseError):
            continue
        assert model._meta.default_manager is not None
        with every_tenant("test"):
            assert model.objects.filter(pk=row.pk).exists(), f"a {model.__name__} was removed with no tenant in scope"  # type: ignore[attr-defined]


def test_every_model_with_a_tenant_has_the_manager_that_filters_and_no_other() -> None:
    for model in our_models():
        has_tenant = any(field.name == "tenant" for field in model._meta.concrete_fields)
        assert has_tenant == issubclass(model, TenantOwned), f"{model.__name__} has a tenant and is not TenantOwned"
    for model in guarded_models():
        managers = [*model._meta.managers, model._base_manager, model._default_manager]
        assert all(isinstance(manager, TenantManager) for manager in managers), model.__name__
        assert {manager.name for manager in model._meta.managers} == {"objects"}, model.__name__


def test_a_scope_shows_one_tenants_rows_and_the_wide_one_all(cast: Cast, one_of_each: OneOfEach) -> None:
    for model in owned_models():
        manager: Any = model._default_manager
        alpha, beta, nobody = (side.get(model) for side in (one_of_each.alpha, one_of_each.beta, one_of_each.nobody))
        with in_tenant(cast.alpha):
            seen = set(manager.values_list("pk", flat=True))
            assert alpha.pk in seen, model.__name__
            assert set(manager.values_list("tenant_id", flat=True)) == {cast.alpha.pk}, model.__name__
        with every_tenant("test"):
            pks = set(manager.values_list("pk", flat=True))
        assert {row.pk for row in (alpha, beta, nobody) if row is not None} <= pks, model.__name__


def test_none_never_means_everyone(cast: Cast) -> None:
    for nobody in (None, "", 0, Tenant.__new__(Tenant), str(cast.alpha.pk), object()):
        if isinstance(nobody, Tenant):
            nobody.__dict__["id"] = None
        with pytest.raises(TenantScopeMissing), in_tenant(nobody):  # type: ignore[arg-type]
            pytest.fail("the scope was opened")
    with pytest.raises(TenantScopeMissing), every_tenant(""):
        pytest.fail("the wide scope was opened without a reason")
    assert current_scope() is None


def test_one_tenant_is_asked_for_by_code_that_needs_exactly_one(cast: Cast) -> None:
    with pytest.raises(TenantScopeMissing):
        scoped_tenant_id()
    with every_tenant("test"), pytest.raises(TenantScopeMissing):
        scoped_tenant_id()
    with in_tenant(cast.alpha):
        assert scoped_tenant_id() == cast.alpha.pk


def test_scopes_nest_and_the_outer_one_comes_back(cast: Cast) -> None:
    alpha, beta = str(cast.alpha.pk), str(cast.beta.pk)
    with transaction.atomic():
        assert setting() == ("portal", "")
        with in_tenant(cast.alpha):
            assert setting() == ("portal", alpha)
            with in_tenant(cast.beta.pk):
                assert setting() == ("portal", beta)
                assert scoped_tenant_id() == cast.beta.pk
            assert setting() == ("portal", alpha)
            with every_tenant("test"):
                assert setting() == ("portal_provider", "")
                with in_tenant(cast.beta):
                    assert setting() == ("portal", beta)
                assert setting() == ("portal_provider", "")
                assert Tenant.objects.count() == 3
            assert setting() == ("portal", alpha)
            with in_tenant(cast.alpha):
                assert setting() == ("portal", alpha)
            assert scoped_tenant_id() == cast.alpha.pk
        assert setting() == ("portal", "")
        assert current_scope() is None
    assert setting() == ("portal", "")


@pytest.mark.parametrize("wide", [True, False])
def test_after_an_error_nothing_of_the_scope_is_left(wide: bool, cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError), every_tenant("test") if wide else in_tenant(cast.alpha):
        raise ZeroDivisionError
    assert current_scope() is None
    assert setting() == ("portal", "")
    with pytest.raises(TenantScopeMissing):
        Tenant.objects.count()


def test_after_an_error_of_the_database_nothing_of_the_scope_is_left(cast: Cast) -> None:
    with pytest.raises(IntegrityError), in_tenant(cast.alpha):
        Membership.objects.create(tenant=cast.alpha, person=cast.alice.row, role="admin", email="a@b.example")
    assert (current_scope(), setting()) == (None, ("portal", ""))


@pytest.mark.parametrize("wide", [True, False])
def test_an_error_inside_an_inner_scope_spoils_the_whole_transaction(wide: bool, cast: Cast) -> None:
    """Nobody goes on with half a change, and nobody goes on in the wrong scope."""
    with pytest.raises(TransactionManagementError), in_tenant(cast.alpha):
        Membership.objects.update(name="half done")
        with pytest.raises(ZeroDivisionError), every_tenant("test") if wide else in_tenant(cast.beta):
            raise ZeroDivisionError
        assert scoped_tenant_id() == cast.alpha.pk
        Membership.objects.count()
    assert (current_scope(), setting()) == (None, ("portal", ""))
    with in_tenant(cast.alpha):
        assert not Membership.objects.filter(name="half done").exists()


def test_a_savepoint_around_an_inner_scope_brings_the_outer_one_back(cast: Cast) -> None:
    with in_tenant(cast.alpha):
        for inner in (every_tenant("test"), in_tenant(cast.beta)):
            with pytest.raises(ZeroDivisionError), transaction.atomic(), inner:
                raise ZeroDivisionError
            assert setting() == ("portal", str(cast.alpha.pk))
            assert scoped_tenant_id() == cast.alpha.pk
            assert set(Membership.objects.values_list("tenant_id", flat=True)) == {cast.alpha.pk}


def test_a_query_built_in_one_scope_brings_nothing_in_another(cast: Cast) -> None:
    with in_tenant(cast.alpha):
        kept = Membership.objects.all()
    with in_tenant(cast.beta):
        assert list(kept.all()) == []
    assert list(kept.all()) == [], "with no scope PostgreSQL shows nothing, whatever the query says"
    with every_tenant("test"):
        everybody = Membership.objects.all()
    with in_tenant(cast.alpha):
        assert {row.tenant_id for row in everybody.all()} == {cast.alpha.pk}
    assert list(everybody.all()) == []


def test_a_new_thread_starts_without_a_scope(cast: Cast) -> None:
    found: list[Any] = []

    def look() -> None:
        found.append(current_scope())
        try:
            found.append(Membership.objects.count())
        except TenantScopeMissing as problem:
            found.append(type(problem))
        finally:
            connection.close()

    with every_tenant("test"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [None, TenantScopeMissing]


def test_a_scope_of_one_thread_is_not_another_threads(cast: Cast) -> None:
    opened, looked = threading.Event(), threading.Event()
    seen: list[Any] = []

    def hold() -> None:
        with in_tenant(cast.beta):
            opened.set()
            looked.wait(10)
            seen.append(scoped_tenant_id())
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert opened.wait(10)
    with in_tenant(cast.alpha):
        assert scoped_tenant_id() == cast.alpha.pk
        assert {row.tenant_id for row in Membership.objects.all()} == {cast.alpha.pk}
    looked.set()
    thread.join()
    assert seen == [cast.beta.pk]


def test_the_wide_door_is_logged_with_its_reason(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tenants.scope"), every_tenant("a report of everybody"):
        pass
    assert "every_tenant" in caplog.text
    assert "a report of everybody" in caplog.text


def test_a_row_of_another_tenant_is_not_saved(cast: Cast) -> None:
    for model in owned_models():
        theirs = unsaved(model, cast.beta)
        with pytest.raises(WrongTenant), in_tenant(cast.alpha):
            theirs.save()
        if model._meta.get_field("tenant").null:
            nobodys = unsaved(model, None)
            with pytest.raises(WrongTenant), in_tenant(cast.alpha):
                nobodys.save()
    with pytest.raises(WrongTenant), in_tenant(cast.alpha):
        Tenant(slug="delta", name="Delta").save()
    with pytest.raises(WrongTenant), in_tenant(cast.alpha):
        cast.beta.save()


def test_a_row_is_not_moved_to_another_tenant_by_saving_it(cast: Cast) -> None:
    mine = make_row(VirtualMachine, cast.alpha, guid="vm-1")
    mine.tenant_id = cast.beta.pk  # type: ignore[attr-defined]
    with pytest.raises(WrongTenant), in_tenant(cast.alpha):
        mine.save()
    with pytest.raises(DatabaseError), in_tenant(cast.beta):
        mine.save()  # it would be an update of a row that this scope does not see, then a second row of one guid
    with every_tenant("test"):
        assert VirtualMachine.objects.get(guid="vm-1").tenant_id == cast.alpha.pk


@pytest.mark.parametrize(
    "way",
    [
        lambda rows, beta: VirtualMachine.objects.update(tenant=beta),
        lambda rows, beta: VirtualMachine.objects.update(tenant=None),
        lambda rows, beta: VirtualMachine.objects.bulk_create([unsaved(VirtualMachine, beta, guid="vm-2")]),
        lambda rows, beta: VirtualMachine.objects.bulk_create([unsaved(VirtualMachine, None, guid="vm-2")]),
        lambda rows, beta: VirtualMachine.objects.bulk_update([_moved(rows, beta)], ["tenant"]),
    ],
)
def test_what_the_first_lock_leaves_open_the_second_refuses(way: Callable[[Any, Any], Any], cast: Cast) -> None:
    mine = make_row(VirtualMachine, cast.alpha, guid="vm-1")
    with pytest.raises(DatabaseError, match="row-level security"), in_tenant(cast.alpha):
        way(mine, cast.beta)
    with every_tenant("test"):
        assert list(VirtualMachine.objects.values_list("guid", "tenant_id")) == [("vm-1", cast.alpha.pk)]


def _moved(row: Any, tenant: Any) -> Any:
    row.tenant_id = tenant.pk
    return row


def test_joins_do_not_cross_tenants(cast: Cast, one_of_each: OneOfEach) -> None:
    """A pointer to another tenant's row brings nothing of it: neither by a join nor by following it."""
    theirs = one_of_each.beta[Membership]
    with in_tenant(cast.alpha):
        mine = Grant.objects.select_related("membership").get(pk=one_of_each.alpha[Grant].pk)
        mine.membership_id = theirs.pk
        with pytest.raises(Membership.DoesNotExist):
            _ = mine.membership
        assert not Grant.objects.filter(membership__email=theirs.email).exists()
        assert not Membership.objects.filter(tenant__slug="beta").exists()
        assert list(Tenant.objects.values_list("slug", flat=True)) == ["alpha"]

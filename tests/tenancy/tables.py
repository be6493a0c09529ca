"""Which tables hold whose rows, found in the model registry, and one row of any of them without naming its columns."""

import itertools
from typing import Any
from uuid import UUID, uuid4

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import connections, models
from django.db.models.fields import NOT_PROVIDED
from django.utils import timezone

from tenants.models import Person, Tenant
from tenants.scope import TenantOwned
from vplus_bridge.models import (
    AllowedRestoreTarget,
    BackupDestination,
    ContactOutage,
    InfrastructureItem,
    OwnershipChange,
    Project,
    ReadState,
)

Model = type[models.Model]

# Seen by the provider's role alone.
PROVIDER_ONLY: set[Model] = {BackupDestination, ContactOutage, Project, InfrastructureItem, OwnershipChange}
# Seen by the runtime login without any scope, each for its reason.
OPEN: dict[Model, str] = {
    Person: "asked before a tenant is known; only the entrance and sign-in read it (tests/meta)",
    ReadState: "when vPlus was read and since when it fails; no tenant's data is in it",
}
# What a constraint wants and no column by itself tells.
_NEEDED: dict[Model, dict[str, Any]] = {AllowedRestoreTarget: {"manager_guid": "hvm-1"}}

_count = itertools.count(1)


def our_models() -> list[Model]:
    """Every model of the two apps that have tables."""
    return [model for label in ("tenants", "vplus_bridge") for model in apps.get_app_config(label).get_models()]


def owned_models() -> list[Model]:
    """Those whose rows belong to a tenant by a column ``tenant_id``."""
    return [model for model in our_models() if issubclass(model, TenantOwned)]


def guarded_models() -> list[Model]:
    """Those whose rows only their own tenant may see: the owned ones, and the tenants themselves."""
    return [Tenant, *owned_models()]


def tenant_column(model: Model) -> str:
    """The column that says whose a row is."""
    return "id" if model is Tenant else "tenant_id"


def may_be_nobodys(model: Model) -> bool:
    """Tell whether a row can have no tenant."""
    return model is not Tenant and bool(model._meta.get_field("tenant").null)


def table(model: Model) -> str:
    """The table's name."""
    return model._meta.db_table


def unsaved(model: Model, tenant: Any, *, using: str = "owner", **given: Any) -> models.Model:
    """One row of a model for a tenant, with each column that has to be given filled in; what it points at is saved."""
    values: dict[str, Any] = {**_NEEDED.get(model, {}), **given}
    for field in model._meta.concrete_fields:
        given_or_made = {field.name, field.attname} & values.keys() or isinstance(field, models.AutoField)
        if given_or_made or field.name == "tenant":
            continue
        if isinstance(field, models.ForeignKey):
            if not field.null:
                values[field.attname] = make_row(field.related_model, tenant, using=using).pk  # type: ignore[arg-type]
        elif field.default is NOT_PROVIDED and not field.null and not field.blank:
            values[field.name] = _value(field)
    if issubclass(model, TenantOwned):
        values["tenant_id"] = tenant.pk if tenant else None
    return model(**values)


def make_row(model: Model, tenant: Any, *, using: str = "owner", **given: Any) -> models.Model:
    """Save one row, by the owner of the tables unless said otherwise: row-level security does not bind that login."""
    row = unsaved(model, tenant, using=using, **given)
    models.QuerySet(model, using=using).bulk_create([row])  # asks no manager, and so needs no scope
    row._state.db = "default"
    return row


def rows_of(model: Model, column: str = "") -> list[Any]:
    """Return a column (or the primary key) of every row that the runtime login sees at this moment, by plain SQL."""
    name = column or model._meta.pk.column  # type: ignore[union-attr]
    with connections["default"].cursor() as cursor:
        cursor.execute(f'SELECT "{name}" FROM "{table(model)}"')
        return [value for (value,) in cursor.fetchall()]


def _value(field: "models.Field[Any, Any]") -> Any:
    number = next(_count)
    if field.choices:
        return next(value for value, _ in field.flatchoices if value != "")
    if isinstance(field, models.EmailField):
        return f"row-{number}@tables.example"
    if isinstance(field, models.UUIDField):
        return uuid4()
    if isinstance(field, ArrayField):
        return []
    made = {
        "CharField": f"row-{number}"[-(field.max_length or 99) :],
        "TextField": f"row {number}",
        "BooleanField": True,
        "BinaryField": b"0",
        "DateTimeField": timezone.now(),
        "FloatField": 1.0,
        "IntegerField": number,
        "BigIntegerField": number,
        "PositiveIntegerField": number,
        "PositiveSmallIntegerField": 1,
        "JSONField": {},
    }
    return made[field.get_internal_type()]


def as_text(value: Any) -> Any:
    """A primary key as plain SQL takes it."""
    return str(value) if isinstance(value, UUID) else value

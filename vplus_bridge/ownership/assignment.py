"""Whose a virtual machine is: the provider's assignment, else the tenant of its project, else nobody.

History follows: the first owner gets all of it; only a move between tenants splits it at that moment, unless the
provider hands it over (design.md 6, Whose it is).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.utils import timezone

from tenants.models import Tenant
from tenants.refusals import Invalid
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.ownership.models import Assignment, AssignmentSource, OwnershipChange

_OWNERS = """
    SELECT vm.guid, vm.tenant_id AS before, coalesce(assigned.tenant_id, of_project.id) AS owner,
        CASE WHEN assigned.tenant_id IS NOT NULL THEN assigned.source
             WHEN of_project.id IS NOT NULL THEN 'project' ELSE '' END AS source,
        coalesce(assigned.assigned_by, '') AS assigned_by
    FROM vplus_bridge_virtualmachine vm
    LEFT JOIN vplus_bridge_assignment assigned ON assigned.virtual_machine_guid = vm.guid
    LEFT JOIN vplus_bridge_project project ON project.guid = vm.project_guid AND vm.project_guid <> ''
    LEFT JOIN tenants_tenant of_project
        ON of_project.vplus_tenant_id = project.uuid AND of_project.vplus_tenant_id <> ''
"""


@dataclass(frozen=True)
class Suggestion:
    """What assigning would make visible, for the page that asks before it does."""

    virtual_machines: int
    backups: int


def attribute() -> list[str]:
    """Give every virtual machine to its owner, in the open wide scope; return the guids whose owner changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH owners AS ({_OWNERS}), moved AS (
                UPDATE vplus_bridge_virtualmachine vm SET tenant_id = owners.owner, changed_at = now()
                FROM owners WHERE owners.guid = vm.guid AND owners.before IS DISTINCT FROM owners.owner
                RETURNING vm.guid, owners.before, owners.owner, owners.source, owners.assigned_by
            )
            INSERT INTO vplus_bridge_ownershipchange
                (virtual_machine_guid, from_tenant_id, to_tenant_id, source, changed_by, at, handed_over)
            SELECT guid, before, owner, source, assigned_by, now(), false FROM moved
            RETURNING virtual_machine_guid
            """  # noqa: S608  # a constant of this module
        )
        moved = [guid for (guid,) in cursor.fetchall()]
    if moved:
        attribute_history(moved)
    return moved


def attribute_history(vm_guids: Iterable[str]) -> None:
    """Give backups and tasks that are nobody's yet to the owner of their time, in the open wide scope."""
    guids = list(vm_guids)
    if not guids:
        return
    with connection.cursor() as cursor:
        for table, moment in (
            ("vplus_bridge_backup", "coalesce(item.taken_at, item.first_seen_at)"),
            ("vplus_bridge_task", "coalesce(item.started_at, item.window_start, item.first_seen_at)"),
        ):
            cursor.execute(
                f"""
                UPDATE {table} item SET tenant_id = coalesce(
                    -- The first move between tenants after the item's time tells whose it was at that time.
                    (SELECT change.from_tenant_id FROM vplus_bridge_ownershipchange change
                     WHERE change.virtual_machine_guid = item.virtual_machine_guid AND NOT change.handed_over
                        AND change.from_tenant_id IS NOT NULL AND change.to_tenant_id IS NOT NULL AND change.at > {moment}
                     ORDER BY change.at LIMIT 1),
                    vm.tenant_id)
                FROM vplus_bridge_virtualmachine vm
                WHERE vm.guid = item.virtual_machine_guid AND item.tenant_id IS NULL AND vm.tenant_id IS NOT NULL
                    AND item.virtual_machine_guid = ANY(%s)
                """,  # noqa: S608  # names of our own tables
                [guids],
            )


def would_show(vm_guids: Sequence[str]) -> Suggestion:
    """Tell what an assignment would make visible, in the open wide scope."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM vplus_bridge_virtualmachine WHERE guid = ANY(%s)),
                   (SELECT count(*) FROM vplus_bridge_backup WHERE virtual_machine_guid = ANY(%s))
            """,
            [list(vm_guids), list(vm_guids)],
        )
        return Suggestion(*cursor.fetchone())


def assign(*, tenant_id: UUID, vm_guids: Sequence[str], by: str, hand_over: bool = False) -> list[str]:
    """Make virtual machines a tenant's, in the open wide scope; return those whose owner changed.

    ``hand_over`` lets history go along where another tenant had them. Raises Invalid naming guids that the mirror does
    not know, and then assigns none.
    """
    guids = list(dict.fromkeys(vm_guids))
    known = set(VirtualMachine.objects.filter(guid__in=guids).values_list("guid", flat=True))
    if unknown := [guid for guid in guids if guid not in known]:
        raise Invalid({"virtual_machines": [f"{guid}: no such virtual machine in the inventory." for guid in unknown]})
    if not guids:
        raise Invalid({"virtual_machines": ["Name at least one virtual machine."]})
    now = timezone.now()
    rows = [
        Assignment(
            virtual_machine_guid=guid,
            tenant_id=tenant_id,
            source=AssignmentSource.PROVIDER,
            assigned_by=by[:254],
            assigned_at=now,
        )
        for guid in guids
    ]
    Assignment.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["virtual_machine_guid"],
        update_fields=["tenant", "source", "assigned_by", "assigned_at"],
    )
    moved = attribute()
    if hand_over:
        _hand_over(guids, tenant_id)
    return [guid for guid in moved if guid in known]


def tenant_by_slug(slug: str) -> Tenant:
    """Return a tenant in the open wide scope; raise Invalid where no tenant has the slug."""
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise Invalid({"tenant": [f"No tenant has the short name {slug}."]})
    return tenant


def tenants_by_name() -> list[Tenant]:
    """Return every tenant, in the open wide scope, for the provider's choice."""
    return list(Tenant.objects.order_by("name", "slug"))


def _hand_over(vm_guids: list[str], tenant_id: UUID) -> None:
    OwnershipChange.objects.filter(virtual_machine_guid__in=vm_guids).update(handed_over=True)
    with connection.cursor() as cursor:
        for table in ("vplus_bridge_backup", "vplus_bridge_task"):
            cursor.execute(
                f"UPDATE {table} SET tenant_id = %s WHERE virtual_machine_guid = ANY(%s) AND tenant_id IS DISTINCT FROM %s",  # noqa: S608  # names of our own tables
                [tenant_id, vm_guids, tenant_id],
            )

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
from vplus_bridge.mirror import told
from vplus_bridge.mirror.backups import sum_up, with_history_of_others
from vplus_bridge.mirror.models import Task, VirtualMachine
from vplus_bridge.mirror.sole_writer import one_at_a_time
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
    """Give every virtual machine to its owner, in the open wide scope; return the guids whose owner changed.

    One at a time: one that decided before another's assignment was committed must not write after it.
    """
    one_at_a_time()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH owners AS ({_OWNERS}), moved AS (
                UPDATE vplus_bridge_virtualmachine vm SET tenant_id = owners.owner, policy_label = '', changed_at = now()
                FROM owners WHERE owners.guid = vm.guid AND owners.before IS DISTINCT FROM owners.owner
                RETURNING vm.guid, vm.name, owners.before, owners.owner, owners.source, owners.assigned_by
            )
            INSERT INTO vplus_bridge_ownershipchange
                (virtual_machine_guid, virtual_machine_name, from_tenant_id, to_tenant_id, source, changed_by, at,
                 handed_over)
            SELECT guid, name, before, owner, source, assigned_by, now(), false FROM moved
            RETURNING virtual_machine_guid, from_tenant_id, to_tenant_id
            """  # noqa: S608  # a constant of this module
        )
        changed = cursor.fetchall()
    moved = [guid for guid, _, _ in changed]
    if moved:
        attribute_backups(moved)
        attribute_tasks(moved)
        # What a row says of its history is its owner's to see: nothing of it may tell of who had the machine before.
        sum_up({guid for guid, before, _ in changed if before is not None} | with_history_of_others(moved))
        told.tell_of_owners(changed)
    return moved


def attribute_backups(vm_guids: Iterable[str]) -> None:
    """Give these machines' backups that are nobody's yet to the owner of their time, in the open wide scope."""
    _attribute("vplus_bridge_backup", "coalesce(item.taken_at, item.finished_at, item.first_seen_at)", vm_guids)


def attribute_tasks(vm_guids: Iterable[str]) -> None:
    """Give these machines' tasks that are nobody's yet to the owner of their time, in the open wide scope."""
    _attribute(
        "vplus_bridge_task", "least(coalesce(item.started_at, item.first_seen_at), item.first_seen_at)", vm_guids
    )


def attribute_linked(task_guids: Iterable[str], tenant_id: UUID) -> None:
    """Give tasks that are nobody's to the tenant whose operation made them, in the open wide scope.

    A task that names no machine, or only the new one that a restore makes, could not be told otherwise.
    """
    Task.objects.filter(guid__in=list(task_guids), tenant=None).update(tenant_id=tenant_id)


def _attribute(table: str, moment: str, vm_guids: Iterable[str]) -> None:
    guids = list(vm_guids)
    if not guids:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH owned AS (
                SELECT item.guid, coalesce(
                    -- The first tenant that gave the machine up after the item's time had it at that time, or was the
                    -- first to get it.
                    (SELECT change.from_tenant_id FROM vplus_bridge_ownershipchange change
                     WHERE change.virtual_machine_guid = item.virtual_machine_guid AND NOT change.handed_over
                        AND change.from_tenant_id IS NOT NULL AND change.at > {moment}
                     ORDER BY change.at, change.id LIMIT 1),
                    vm.tenant_id) AS owner
                FROM {table} item JOIN vplus_bridge_virtualmachine vm ON vm.guid = item.virtual_machine_guid
                WHERE item.tenant_id IS NULL AND item.virtual_machine_guid = ANY(%s)
            )
            UPDATE {table} item SET tenant_id = owned.owner FROM owned
            WHERE owned.guid = item.guid AND owned.owner IS NOT NULL
            """,  # noqa: S608  # names of our own tables and columns
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
    # PostgreSQL takes no NUL, in a question or in the audit that keeps the refusal; no guid has one.
    guids = list(dict.fromkeys(guid.replace("\0", "\N{REPLACEMENT CHARACTER}") for guid in vm_guids))
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
        sum_up(guids)
    return [guid for guid in moved if guid in known]


def tenant_by_slug(slug: str) -> Tenant:
    """Return a tenant in the open wide scope; raise Invalid where no tenant has the slug."""
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise Invalid({"tenant": [f"No tenant has the short name {slug}."]})
    return tenant


def _hand_over(vm_guids: list[str], tenant_id: UUID) -> None:
    """Give the whole history to a tenant: backups, tasks and operations with all that hangs on them."""
    # In the order of everybody else: machines before their history, operations before their tasks.
    list(
        VirtualMachine.objects.select_for_update(of=("self",)).filter(guid__in=vm_guids).order_by("guid").values("guid")
    )
    OwnershipChange.objects.filter(virtual_machine_guid__in=vm_guids).update(handed_over=True)
    of_machines = "virtual_machine_guid = ANY(%s)"
    operations = f"SELECT id FROM vplus_bridge_operation WHERE {of_machines}"  # noqa: S608  # constants
    steps = f"SELECT id FROM vplus_bridge_step WHERE operation_id IN ({operations})"  # noqa: S608  # constants
    attempts = f"SELECT id FROM vplus_bridge_attempt WHERE step_id IN ({steps})"  # noqa: S608  # constants
    with connection.cursor() as cursor:
        for table, which in (
            ("vplus_bridge_backup", of_machines),
            # Operations and the ledger are rooms above this one, so their tables are only named. Each row points at one of its own
            # tenant; that is checked at the end of the transaction.
            ("vplus_bridge_operation", of_machines),
            ("vplus_bridge_task", of_machines),
            ("vplus_bridge_failuretold", f"operation_id IN ({operations})"),
            ("vplus_bridge_expectedrun", of_machines),
            ("vplus_bridge_step", f"operation_id IN ({operations})"),
            ("vplus_bridge_attempt", f"step_id IN ({steps})"),
            ("vplus_bridge_chaintask", f"attempt_id IN ({attempts})"),
        ):
            cursor.execute(
                f"UPDATE {table} SET tenant_id = %s WHERE {which} AND tenant_id IS DISTINCT FROM %s",  # noqa: S608  # names of our own tables
                [tenant_id, vm_guids, tenant_id],
            )

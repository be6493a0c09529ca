"""What an actor sees of operations: the accessors that views and services start from, as in ownership/visible.py."""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from tenants.refusals import NotVisible
from tenants.rights import Actor
from vplus_bridge.keyset import Key, Keyset
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.operations.models import ChainTask, Operation
from vplus_bridge.operations.moves import ACTIVE
from vplus_bridge.operations.runs import DATA_TASKS, Run, RunState, runs_of
from vplus_bridge.ownership import visible

NEWEST_FIRST = Keyset("-requested_at", (Key("requested_at", descending=True), Key("id")))


def operations(actor: Actor) -> QuerySet[Operation]:
    """Return the operations that the actor sees: the tenant's, or those on virtual machines granted to them."""
    rows = Operation.objects.all()
    return rows if actor.sees_all else rows.filter(virtual_machine_guid__in=list(actor.grants))


def operation(actor: Actor, operation_id: UUID) -> Operation:
    """Return one operation; raise NotVisible where it is not the actor's to see."""
    row = operations(actor).filter(pk=operation_id).first()
    if row is None:
        raise NotVisible
    return row


def active_by_machine(actor: Actor, vm_guids: Iterable[str]) -> dict[str, list[Operation]]:
    """Return the operations under way by guid of their virtual machine, newest first, in one SQL statement."""
    found: dict[str, list[Operation]] = {}
    rows = operations(actor).filter(virtual_machine_guid__in=list(vm_guids), state__in=ACTIVE)
    for row in rows.order_by("-requested_at", "pk"):
        found.setdefault(row.virtual_machine_guid, []).append(row)
    return found


def makers_of(actor: Actor, backup_guids: Iterable[str]) -> dict[str, Operation]:
    """Return, by guid of a backup, the operation that made it; backups that no operation made are left out."""
    rows = operations(actor).filter(backup_guid__in=[guid for guid in backup_guids if guid])
    return {row.backup_guid: row for row in rows.order_by("requested_at")}


def schedules_of_backups(actor: Actor, backups: Collection[Backup]) -> dict[str, str]:
    """Return, by guid of a backup, vPlus's guid of the schedule that it is of: by its own word, else by the run that made it.

    Backups of no schedule, or of none that is known, are left out. One SQL statement.
    """
    told = {backup.guid: backup.origin_guid for backup in backups if backup.origin_type == "SCHEDULE"}
    rest = [backup.guid for backup in backups if not backup.origin_type]
    made = run_heads(actor).filter(run_backup_guid__in=rest).exclude(schedule_guid="")
    by_runs = dict(made.values_list("run_backup_guid", "schedule_guid"))
    return {guid: schedule for guid, schedule in {**by_runs, **told}.items() if schedule}


def tasks_of(actor: Actor, operation_ids: Iterable[UUID]) -> dict[UUID, list[Task]]:
    """Return the tasks of each operation's chain in the order in which they were first seen, in two SQL statements."""
    linked = dict(
        ChainTask.objects.filter(attempt__step__operation__in=list(operation_ids)).values_list(
            "task_guid", "attempt__step__operation"
        )
    )
    found: dict[UUID, list[Task]] = {}
    for task in visible.tasks(actor).filter(guid__in=list(linked)).order_by("first_seen_at", "guid"):
        found.setdefault(linked[task.guid], []).append(task)
    return found


def operations_of_tasks(actor: Actor, task_guids: Iterable[str]) -> dict[str, Operation]:
    """Return, by guid of a task, the operation that it belongs to; tasks that nobody here asked for are left out."""
    linked = dict(
        ChainTask.objects.filter(task_guid__in=list(task_guids)).values_list("task_guid", "attempt__step__operation")
    )
    rows = operations(actor).in_bulk(list(set(linked.values())))
    return {guid: rows[operation_id] for guid, operation_id in linked.items() if operation_id in rows}


def run_heads(actor: Actor) -> QuerySet[Task]:
    """Return the first task of each visible run: of what schedules and vPlus itself do, which no operation made."""
    # The first says nothing new, but keeps PostgreSQL from walking over all of those that have an operation.
    own = visible.tasks(actor).filter(of_operation=False, run_guid="")
    return own.filter(~Exists(ChainTask.objects.filter(task_guid=OuterRef("guid"))))


def open_run_heads(actor: Actor) -> QuerySet[Task]:
    """Return the first task of each visible run that goes on."""
    return run_heads(actor).filter(run_ended=False)


def runs_with_tasks(actor: Actor, heads: Sequence[Task]) -> list[Run]:
    """Return the runs that these tasks begin, in their order, in one SQL statement."""
    guids = [head.guid for head in heads if head.type in DATA_TASKS]
    further = visible.tasks(actor).filter(run_guid__in=guids, of_operation=False) if guids else ()
    return runs_of(heads, further)


def running_by_itself(actor: Actor, vm_guids: Iterable[str]) -> dict[str, Run]:
    """Return, by guid of a virtual machine, the backup or restore under way that no operation made, in two statements.

    Of several the one that runs goes before one that waits, then the older one.
    """
    heads = open_run_heads(actor).filter(virtual_machine_guid__in=list(vm_guids), type__in=DATA_TASKS)
    found: dict[str, Run] = {}
    runs = runs_with_tasks(actor, list(heads.order_by("first_seen_at", "guid")))
    for run in sorted(runs, key=lambda one: one.state == RunState.QUEUED):
        found.setdefault(run.head.virtual_machine_guid, run)
    return found


def tasks_of_backup(actor: Actor, backup_guid: str) -> QuerySet[Task]:
    """Return the tasks that worked on a backup: those that name it, and those of the operation or the run that made it.

    On a server whose tasks name no backup, only the second can be known.
    """
    chained = ChainTask.objects.filter(attempt__step__operation__in=operations(actor).filter(backup_guid=backup_guid))
    heads = run_heads(actor).filter(run_backup_guid=backup_guid).values("guid")
    of_run = Q(run_backup_guid=backup_guid) | Q(run_guid__in=heads)
    return visible.tasks(actor).filter(Q(backup_guid=backup_guid) | of_run | Q(guid__in=chained.values("task_guid")))


def tasks_asked_by(actor: Actor) -> QuerySet[Task]:
    """Return the tasks of operations that the actor's own membership asked for."""
    mine = operations(actor).filter(requested_by_id=actor.membership_id)
    linked = ChainTask.objects.filter(attempt__step__operation__in=mine)
    return visible.tasks(actor).filter(guid__in=linked.values("task_guid"))

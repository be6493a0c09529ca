"""The new virtual machines that restores made: which restores still wait for theirs, and linking it once it is known.

Works in the open wide scope. Whose a new machine is, is decided a room below (ownership/restored.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from django.db.models import Min

from tenants.rights import ProviderActor, Right
from vplus_bridge.client import RestoreJobRecord
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.instants import clean
from vplus_bridge.mirror.models import Task
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.restore_chain import job_of
from vplus_bridge.operations.restore_follow import NAMED_BY_JOB
from vplus_bridge.ownership.restored import RestoreMade, alike, recognise

LOOKED_FOR = timedelta(days=30)
MOST_JOBS_ASKED = 10
ASKED_FOR_JOBS = timedelta(days=1)


def link_new_machines() -> tuple[list[UUID], list[str]]:
    """Link each new machine that the inventory shows by now; return the operations and the machines that changed hands."""
    waiting = waiting_restores()
    if not waiting:
        return [], []
    taken = Operation.objects.filter(kind=Kind.RESTORE).exclude(restored_vm_guid="")
    made, moved = recognise(waiting, taken=taken.values_list("restored_vm_guid", flat=True))
    for operation in Operation.objects.select_for_update().filter(pk__in=list(made)).order_by("pk"):
        operation.restored_vm_guid = made[operation.pk]
        operation.save(update_fields=["restored_vm_guid"])
    return list(made), moved


def waiting_restores() -> list[RestoreMade]:
    """Return the restores that are done and whose new machine is not known, in a few SQL statements."""
    rows = list(
        Operation.objects.filter(
            kind=Kind.RESTORE,
            state=State.SUCCEEDED,
            restored_vm_guid="",
            finished_at__gte=database_now() - LOOKED_FOR,
        )
        .annotate(sent_at=Min("steps__attempts__sent_at"))
        .exclude(sent_at=None)
        .order_by("finished_at", "pk")
    )
    named = _named_by_imports(rows)
    rivals = _rivals(rows)
    return [
        RestoreMade(
            operation=row.pk,
            tenant_id=row.tenant_id,
            source_guid=row.virtual_machine_guid,
            name=row.restored_name,
            code=row.plan.get("code", ""),
            sent_at=row.sent_at,
            manager_guid=row.plan.get("manager_guid", ""),
            named=frozenset(named.get(row.pk, set()) | {row.plan.get(NAMED_BY_JOB, "")})
            - {"", row.virtual_machine_guid},
            rivals=frozenset(tenant for pk, tenant in rivals.get(row.restored_name, ()) if pk != row.pk),
        )
        for row in rows
    ]


def suggestions(provider: ProviderActor, vm_guids: Iterable[str]) -> Mapping[str, list[Operation]]:
    """Return, by machine that is nobody's, the restores that may have made it. Raises NotAllowed."""
    provider.require(Right.PROVIDER_READ)
    guids = list(vm_guids)
    waiting = waiting_restores() if guids else []
    found = alike(waiting, guids) if waiting else {}
    rows = Operation.objects.select_related("tenant").in_bulk(
        [restore.operation for restores in found.values() for restore in restores]
    )
    return {guid: [rows[restore.operation] for restore in restores] for guid, restores in found.items()}


def jobs_to_ask() -> list[str]:
    """Return machines whose restore jobs may name what a restore of the last day made; those asked for are few."""
    since = database_now() - ASKED_FOR_JOBS
    rows = Operation.objects.filter(
        kind=Kind.RESTORE, state=State.SUCCEEDED, restored_vm_guid="", finished_at__gte=since
    )
    guids = rows.order_by("-finished_at").values_list("virtual_machine_guid", flat=True)
    return list(dict.fromkeys(guids))[:MOST_JOBS_ASKED]


def note_named(jobs: Mapping[str, Iterable[RestoreJobRecord]]) -> None:
    """Keep the guids that these restore jobs name as the destination, where that is not the source."""
    rows = Operation.objects.select_for_update().filter(
        kind=Kind.RESTORE, state=State.SUCCEEDED, restored_vm_guid="", virtual_machine_guid__in=list(jobs)
    )
    for operation in rows.order_by("pk"):
        attempt = Attempt.objects.filter(step__operation=operation, sent_at__isnull=False, step__action="restore")
        first = attempt.order_by("number").first()
        job = job_of(operation, first, jobs[operation.virtual_machine_guid]) if first is not None else None
        if job is None or not job.dst_guid or job.dst_guid == operation.virtual_machine_guid:
            continue
        if operation.plan.get(NAMED_BY_JOB) != job.dst_guid:
            operation.plan[NAMED_BY_JOB] = clean(job.dst_guid, 200)
            operation.save(update_fields=["plan"])


def _named_by_imports(rows: Sequence[Operation]) -> dict[UUID, set[str]]:
    """Return, by restore, the guids that its imports name as the destination; usually that is the source."""
    chained = dict(
        ChainTask.objects.filter(attempt__step__operation__in=rows, stage="import").values_list(
            "task_guid", "attempt__step__operation"
        )
    )
    named: dict[UUID, set[str]] = {}
    tasks = Task.objects.filter(guid__in=list(chained))
    for guid, destination, machine in tasks.values_list("guid", "destination_vm_guid", "virtual_machine_guid"):
        named.setdefault(chained[guid], set()).update({destination, machine} - {""})
    return named


def _rivals(rows: Sequence[Operation]) -> dict[str, list[tuple[UUID, UUID]]]:
    """Return, by name, every restore that may have made a machine of that name which is not known yet, and its tenant."""
    found: dict[str, list[tuple[UUID, UUID]]] = {}
    others = Operation.objects.filter(
        kind=Kind.RESTORE,
        restored_name__in={row.restored_name for row in rows},
        restored_vm_guid="",
        steps__attempts__sent_at__isnull=False,
        steps__attempts__outcome__in=["", Outcome.UNCERTAIN, Outcome.ACCEPTED],
    )
    for name, pk, tenant in others.values_list("restored_name", "pk", "tenant_id").distinct():
        found.setdefault(name, []).append((pk, tenant))
    return found

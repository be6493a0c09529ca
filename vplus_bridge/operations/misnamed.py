"""Answers that named a wrong task. Works in the open wide scope, on what the mirror holds.

An answer may name a task by its guid alone, and a proxy can mix up answers. The link stands until the task was read: one
that is another machine's, another kind or reads another restore point is none of the operation's. What its write made is
then looked for as after any answer that does not tell (operations/settle.py).
"""

from uuid import UUID

import structlog
from django.db.models import Exists, OuterRef, Q, QuerySet

from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.models import Task
from vplus_bridge.mirror.tasks import NEVER_READ
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import ACTIVE
from vplus_bridge.operations.writes import task_writes

log = structlog.get_logger(__name__)
ANSWER = "answer"
WHY = "the answer named a task of another machine or kind"


def misnamed(operation_id: UUID, task_guid: str) -> bool:
    """Tell whether a task is linked to an operation by an answer alone, and the reading of it says otherwise."""
    return _wrong_links().filter(attempt__step__operation=operation_id, task_guid=task_guid).exists()


def undo_misnamed() -> list[UUID]:
    """Undo such links; return the ids of the operations. Those that somebody else is at are left for another time."""
    ids = list(_wrong_links().values_list("attempt__step__operation", flat=True).distinct())
    undone = []
    for operation in Operation.objects.select_for_update(skip_locked=True).filter(pk__in=ids).order_by("pk"):
        wrong = _wrong_links().filter(attempt__step__operation=operation)
        rows = Attempt.objects.select_for_update(of=("self",)).filter(pk__in=wrong.values("attempt"))
        for attempt in rows:
            _undo(attempt)
            undone.append(operation.pk)
    return undone


def _undo(attempt: Attempt) -> None:
    """Take the task and what followed from it away from the attempt: nothing is known of what its write made."""
    linked = ChainTask.objects.filter(attempt=attempt)
    guids = list(linked.values_list("task_guid", flat=True))
    linked.delete()
    Task.objects.filter(guid__in=guids).update(of_operation=False)
    attempt.task_guid, attempt.outcome = None, Outcome.UNCERTAIN
    attempt.outcome_at, attempt.outcome_reason = database_now(), WHY
    attempt.save(update_fields=["task_guid", "outcome", "outcome_at", "outcome_reason"])
    log.warning("an answer named a task of another machine or kind", attempt=str(attempt.pk), tasks=guids)


def _wrong_links() -> QuerySet[ChainTask]:
    machine = OuterRef("attempt__step__operation__virtual_machine_guid")
    point = OuterRef("attempt__step__operation__restore_point_guid")
    read = Task.objects.filter(guid=OuterRef("task_guid")).exclude(digest=NEVER_READ)
    elsewhere = read.exclude(virtual_machine_guid=machine).exclude(destination_vm_guid=machine)
    # Only a restore has a point that was there before; an export names the record that it makes.
    other_point = read.exclude(backup_guid="").exclude(backup_guid=point)
    wrong = Q(Exists(elsewhere)) | (~Q(attempt__step__operation__restore_point_guid="") & Q(Exists(other_point)))
    for action, write in task_writes().items():
        wrong |= Q(attempt__step__action=action) & Q(Exists(read.exclude(type__in=["", write.task_type])))
    return ChainTask.objects.filter(wrong, linked_by=ANSWER, attempt__step__operation__state__in=sorted(ACTIVE))

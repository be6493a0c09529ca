"""Late: tasks of attempts that were taken to have come to nothing. Works in the open wide scope, on what the mirror holds.

vPlus has no key by which a repeated request could be known as the same, so a server that acts later than all the waits
may do a thing twice. It is seen here, stopped where that is still possible, and told where it is not (design.md 6,
Sending 11).
"""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db.models import Exists, F, OuterRef, Q

from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.models import Task
from vplus_bridge.operations.cancel import ask_vplus
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import State
from vplus_bridge.operations.settle import ARRIVAL_UNKNOWN, STAMP_LEEWAY, adopt
from vplus_bridge.operations.transitions import link_if_free, take_up, warn
from vplus_bridge.operations.writes import task_writes

log = structlog.get_logger(__name__)
LATE = "late"
"""The stage under which a late task is linked: it is part of the operation's story, not of its chain."""
LOOKED_FOR = timedelta(days=7)
RAN_TWICE = "ran_twice"


def note_late() -> list[UUID]:
    """Take in tasks that turned up late; return the ids of the operations that they belong to."""
    touched = [operation_id for attempt_id in _with_late_tasks() if (operation_id := _take_in(attempt_id))]
    return touched + _note_ran_twice()


def _with_late_tasks() -> list[UUID]:
    bearing = Task.objects.filter(
        virtual_machine_guid=OuterRef("step__operation__virtual_machine_guid"),
        window_start__gt=OuterRef("stamp") - STAMP_LEEWAY,
        window_start__lt=OuterRef("stamp") + STAMP_LEEWAY,
        first_seen_at__gte=OuterRef("sent_at"),
        type__in=[write.task_type for write in task_writes().values()],
    ).exclude(Exists(ChainTask.objects.filter(task_guid=OuterRef("guid"))))
    closed = Q(outcome=Outcome.NOT_ACCEPTED, absent_since__isnull=False)
    open_still = Q(
        outcome=Outcome.UNCERTAIN,
        step__operation__state=State.NEEDS_ATTENTION,
        step__operation__error_code=ARRIVAL_UNKNOWN,
    )
    rows = Attempt.objects.filter(
        closed | open_still, Exists(bearing), stamp__isnull=False, sent_at__gte=database_now() - LOOKED_FOR
    )
    return list(rows.order_by("sent_at", "pk").values_list("pk", flat=True))


def _take_in(attempt_id: UUID) -> UUID | None:
    """Give one attempt the task that bears its stamp; None where somebody else is at the operation."""
    operation_id = Attempt.objects.values_list("step__operation", flat=True).get(pk=attempt_id)
    operation = Operation.objects.select_for_update(skip_locked=True).filter(pk=operation_id).first()
    attempt = Attempt.objects.select_for_update(of=("self",)).select_related("step").get(pk=attempt_id)
    if operation is None or attempt.stamp is None or attempt.task_guid is not None:
        return None
    near = Q(window_start__gt=attempt.stamp - STAMP_LEEWAY, window_start__lt=attempt.stamp + STAMP_LEEWAY)
    task = (
        Task.objects.filter(near, virtual_machine_guid=operation.virtual_machine_guid)
        .filter(type=task_writes()[attempt.step.action].task_type)
        .exclude(guid__in=attempt.baseline_tasks)
        .exclude(Exists(ChainTask.objects.filter(task_guid=OuterRef("guid"))))
        .order_by("-first_seen_at")
        .first()
    )
    if task is None:
        return None
    now = database_now()
    newer = Attempt.objects.filter(step=attempt.step, number__gt=attempt.number)
    unsent = newer.filter(sent_at=None, outcome="")
    if attempt.outcome == Outcome.UNCERTAIN:
        if not take_up(operation, State.SUBMITTED, now):
            return None  # another backup has taken its place; a person decides
        adopt(attempt, operation, task, now)
    elif not newer.exclude(pk__in=unsent.values("pk")).exists() and operation.active:
        # The attempt that was to take its place has not gone out yet, and the lock sees to it that it never will.
        unsent.update(
            outcome=Outcome.NOT_ACCEPTED, outcome_at=now, outcome_reason="the attempt before arrived after all"
        )
        adopt(attempt, operation, task, now)
    elif link_if_free(attempt, task.guid, LATE, "stamp"):
        log.warning("a task turned up late", operation=str(operation.pk), task=task.guid, state=task.state)
        if task.live and task.state == "QUEUED":
            ask_vplus(operation, task.guid, now)
    attempt.save()
    operation.save()
    return operation.pk


def _note_ran_twice() -> list[UUID]:
    """Say of operations whose late task did run that the work ran twice."""
    late = ChainTask.objects.filter(stage=LATE, linked_at__gte=database_now() - LOOKED_FOR)
    ran = Task.objects.filter(guid=OuterRef("task_guid")).filter(
        Q(started_at__isnull=False) | Q(state__in=["RUNNING", "FINISHED", "FAILED"])
    )
    rows = late.filter(Exists(ran)).annotate(operation=F("attempt__step__operation"))
    noted = []
    for operation_id in rows.values_list("operation", flat=True).distinct():
        operation = Operation.objects.select_for_update(skip_locked=True).filter(pk=operation_id).first()
        if operation is not None and RAN_TWICE not in operation.warnings:
            warn(operation, RAN_TWICE)
            operation.save(update_fields=["warnings"])
            log.warning("the work of an operation ran twice", operation=str(operation_id))
            noted.append(operation_id)
    return noted


def count_ran_twice() -> int:
    """Return how many operations ran twice, in the open wide scope."""
    return Operation.objects.filter(warnings__contains=[RAN_TWICE]).count()

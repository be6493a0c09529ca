"""Sending: claim, prepare, mark, send, record. Each writes in a transaction of its own; HTTP happens in none of them.

The mark is committed before the first byte goes out and is never cleared, so whatever dies, nobody sends the same
attempt twice, and an attempt with a mark and no outcome is known to be uncertain (design.md 6, Sending).
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from tenants.scope import in_tenant
from vplus_bridge.client import (
    NotFound,
    OutcomeKind,
    VplusClient,
    VplusError,
    WriteRequest,
    export_request,
)
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.instants import clean, instant, to_ms
from vplus_bridge.mirror.models import Backup, Task, VirtualMachine
from vplus_bridge.operations.models import Attempt, ChainTask, Operation, Outcome
from vplus_bridge.operations.moves import ACTIVE, State, allowed
from vplus_bridge.ownership.models import AllowedDestination

log = structlog.get_logger(__name__)
LONGEST_PAUSE = 60.0
LONGEST_ASKED_PAUSE = 900.0  # what vPlus may ask for; beyond it one more question does no harm
STAMP_APART = timedelta(seconds=3)
# What may still be sent: the wish, and an attempt after one that was shown to have come to nothing.
SENDABLE = (State.REQUESTED, State.SUBMITTED)


@dataclass(frozen=True)
class Claim:
    """The right to send one attempt, until it ends by itself or a newer claim takes over."""

    tenant_id: UUID
    attempt_id: UUID
    fence: int
    operation_id: UUID
    virtual_machine_guid: str
    plan: dict[str, Any]
    send_until: datetime


@dataclass(frozen=True)
class Prepared:
    """What was found out before the mark."""

    baseline_tasks: list[str]
    baseline_backups: list[str]
    clock_offset: timedelta


class WorldChanged(Exception):
    """What was asked for can no longer be done; ``code`` says why. Nothing was sent."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def send_attempt(client: VplusClient, tenant_id: UUID, attempt_id: UUID) -> None:
    """Send one attempt if it is due and nobody else sends it; otherwise do nothing. Safe to call any number of times."""
    claim = _claim(tenant_id, attempt_id)
    if claim is None:
        return
    try:
        prepared = _prepare(client, claim)
        channel = client.open_write()
    except WorldChanged as change:
        _give_up(claim, change.code)
        return
    except VplusError as problem:
        _release(claim, problem)
        return
    with channel:
        began = monotonic()
        request = _mark(claim, prepared)
        if request is None:
            return
        if monotonic() - began > settings.VPLUS_SEND_MARK_SECONDS:
            # This process was paused between mark and send: somebody may already think it dead, so it stays silent.
            answer = Answer(OutcomeKind.NOT_ACCEPTED, None, "not sent: the worker was held up")
        else:
            answer = channel.send(request)
    record(claim, answer)


def _claim(tenant_id: UUID, attempt_id: UUID) -> Claim | None:
    """Take the right to send; one row, or nothing. The woken worker and the sweeper run this same statement."""
    with in_tenant(tenant_id), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE vplus_bridge_attempt attempt
            SET fence = fence + 1, claimed_until = now() + %s * interval '1 second'
            FROM vplus_bridge_step step JOIN vplus_bridge_operation operation ON operation.id = step.operation_id
            WHERE attempt.id = %s AND step.id = attempt.step_id
                AND attempt.sent_at IS NULL AND attempt.outcome = '' AND attempt.due_at <= now()
                AND (attempt.claimed_until IS NULL OR attempt.claimed_until <= now())
                AND operation.state = ANY(%s) AND operation.send_until > now()
            RETURNING attempt.fence, operation.id, operation.virtual_machine_guid, operation.send_until
            """,
            [settings.VPLUS_SEND_CLAIM_SECONDS, attempt_id, [str(state) for state in SENDABLE]],
        )
        row = cursor.fetchone()
        if row is None:
            return None
        plan = Operation.objects.only("plan").get(pk=row[1]).plan
        return Claim(tenant_id, attempt_id, row[0], row[1], row[2], plan, row[3])


def _prepare(client: VplusClient, claim: Claim) -> Prepared:
    """Look at the world once more, reads only; raise WorldChanged, or VplusError, which is as good as not accepted."""
    client.ensure_session()
    guid = claim.virtual_machine_guid
    with in_tenant(claim.tenant_id):
        if not VirtualMachine.objects.filter(guid=guid).exists():
            raise WorldChanged("vm_not_yours")
        if not AllowedDestination.objects.filter(destination_guid=claim.plan["destination"]).exists():
            raise WorldChanged("destination_not_allowed")
        # What the mirror knows already was there before, also where a list now comes short.
        tasks = set(Task.objects.filter(virtual_machine_guid=guid).values_list("guid", flat=True))
        backups = set(Backup.objects.filter(virtual_machine_guid=guid).values_list("guid", flat=True))
    try:
        if not client.virtual_machine(guid).present:
            raise WorldChanged("vm_gone")
    except NotFound:
        # Not every server answers this call for every account; vPlus itself will say what it thinks.
        log.info("virtual machine could not be asked for before sending", operation=str(claim.operation_id))
    for page in client.tasks(vm_guid=guid):
        tasks.update(task.guid for task in page if task.vm_guid in (None, guid))
    try:
        for records in client.backups(guid):
            backups.update(backup.guid for backup in records)
    except NotFound:
        log.info("vPlus knows no history of a machine before sending", operation=str(claim.operation_id))
    return Prepared(sorted(tasks), sorted(backups), timedelta(milliseconds=client.clock_offset_ms or 0))


def _mark(claim: Claim, prepared: Prepared) -> WriteRequest | None:
    """Commit the mark with exactly what will be sent; None where the claim is no longer ours or it is too late."""
    with in_tenant(claim.tenant_id), connection.cursor() as cursor:
        # Whoever ends the operation locks its row: either the mark sees that, or the other sees the mark.
        if not Operation.objects.select_for_update(no_key=True).filter(pk=claim.operation_id).exists():
            return None
        # Waiting for the lock may have taken long, so it is the moment that counts, not the transaction's beginning.
        stamp = _free_stamp(claim, database_now(), prepared.clock_offset)
        request = _export(claim, stamp, prepared.clock_offset)
        if request is None:
            return None
        cursor.execute(
            """
            UPDATE vplus_bridge_attempt attempt
            SET sent_at = clock_timestamp(), stamp = %s, body = %s,
                baseline_tasks = %s::jsonb, baseline_backups = %s::jsonb
            FROM vplus_bridge_step step JOIN vplus_bridge_operation operation ON operation.id = step.operation_id
            WHERE attempt.id = %s AND step.id = attempt.step_id
                AND attempt.fence = %s AND attempt.sent_at IS NULL AND attempt.claimed_until > clock_timestamp()
                AND operation.state = ANY(%s) AND operation.send_until > clock_timestamp()
            """,
            [
                stamp,
                request.body,
                json.dumps(prepared.baseline_tasks),
                json.dumps(prepared.baseline_backups),
                claim.attempt_id,
                claim.fence,
                [str(state) for state in SENDABLE],
            ],
        )
        return request if cursor.rowcount == 1 else None


def _free_stamp(claim: Claim, now: datetime, clock_offset: timedelta) -> datetime:
    """Return the export's windowStart, by vPlus's clock: the wished time, moved on to a second that names it alone.

    Not a full minute, since schedules fire there, and 3 s away from any other stamp of this virtual machine.
    """
    wished = max(instant(claim.plan["window_start"]) or now, now) + clock_offset
    taken = Attempt.objects.filter(
        step__operation__virtual_machine_guid=claim.virtual_machine_guid, stamp__gte=wished - STAMP_APART
    ).values_list("stamp", flat=True)
    return next_free_second(wished, [stamp for stamp in taken if stamp])


def next_free_second(wished: datetime, taken: Sequence[datetime]) -> datetime:
    """Return the first whole second from ``wished`` on whose second-of-minute is not 0 and that is 3 s from all taken."""
    stamp = wished.astimezone(UTC)
    if stamp.microsecond:
        stamp = stamp.replace(microsecond=0) + timedelta(seconds=1)
    while stamp.second == 0 or any(abs(stamp - other) < STAMP_APART for other in taken):
        stamp += timedelta(seconds=1)
    return stamp


def _export(claim: Claim, stamp: datetime, clock_offset: timedelta) -> WriteRequest | None:
    window_end = to_ms((instant(claim.plan["window_end"]) or claim.send_until) + clock_offset)
    if to_ms(stamp) >= window_end:
        return None
    return export_request(
        vm_guid=claim.virtual_machine_guid,
        destination_guid=claim.plan["destination"],
        backup_type=claim.plan["backup_type"],
        priority=claim.plan["priority"],
        window_start_ms=to_ms(stamp),
        window_end_ms=window_end,
        tenant_label=claim.plan["tenant_label"] or str(claim.tenant_id),
    )


def record(claim: Claim, answer: Answer) -> None:
    """Write down what became of the write, where nothing or only "uncertain" stands, and move the operation on."""
    with in_tenant(claim.tenant_id):
        # The operation's lock first, here and everywhere: two that took them in turns would wait for each other.
        operation = Operation.objects.select_for_update().get(pk=claim.operation_id)
        attempt = Attempt.objects.select_for_update(of=("self",)).select_related("step").get(pk=claim.attempt_id)
        if attempt.outcome not in ("", Outcome.UNCERTAIN) or attempt.task_guid:
            return
        now, kind = database_now(), answer.kind
        if kind == OutcomeKind.ACCEPTED and not _link_answered(attempt, answer.tasks[0].guid):
            kind = OutcomeKind.UNCERTAIN
        attempt.outcome, attempt.outcome_at, attempt.outcome_reason = str(kind), now, answer.reason[:300]
        attempt.status_code, attempt.vendor_text = answer.status, clean(answer.vendor_text, 2000)
        if kind == OutcomeKind.ACCEPTED:
            _take_up(operation, State.SUBMITTED, now)
        elif kind == OutcomeKind.UNCERTAIN:
            if operation.state == State.REQUESTED:
                move(operation, State.SUBMITTED, now)
        elif kind == OutcomeKind.REFUSED:
            operation.vendor_text = attempt.vendor_text
            fail(operation, "refused_by_vplus", now)
        else:
            again(
                attempt, now, after=_pause(attempt.setbacks, answer.retry_after_seconds, at_once=answer.needs_sign_in)
            )
            if operation.state == State.NEEDS_ATTENTION:
                _take_up(operation, State.REQUESTED, now)
        attempt.save()
        operation.save()
    log.info("write recorded", operation=str(claim.operation_id), outcome=str(kind), reason=answer.reason)


def _link_answered(attempt: Attempt, task_guid: str) -> bool:
    """Link the task that the answer names; False where it names work that was there before, or is another's."""
    if task_guid in attempt.baseline_tasks:
        return False
    try:
        with transaction.atomic():
            link(attempt, task_guid, "export", "answer")
    except IntegrityError:
        return False
    return True


def _take_up(operation: Operation, state: State, now: datetime) -> None:
    """Move on, also out of "needs attention" when a late answer clears things up, unless another has taken its place."""
    rivals = Operation.objects.filter(subject=operation.subject, kind=operation.kind, state__in=ACTIVE)
    if operation.active or not rivals.exclude(pk=operation.pk).exists():
        move(operation, state, now)


def link(attempt: Attempt, task_guid: str, stage: str, by: str) -> None:
    """Note that a task belongs to an attempt; the first one is what the attempt's write made."""
    ChainTask.objects.create(
        tenant_id=attempt.tenant_id, task_guid=task_guid, attempt=attempt, stage=stage, linked_by=by
    )
    if attempt.task_guid is None:
        attempt.task_guid = task_guid


def again(attempt: Attempt, now: datetime, *, after: float) -> Attempt:
    """Make the next attempt of the same step, due in ``after`` seconds: the one before certainly did nothing."""
    return Attempt.objects.create(
        tenant_id=attempt.tenant_id,
        step=attempt.step,
        number=attempt.number + 1,
        setbacks=attempt.setbacks + 1,
        due_at=now + timedelta(seconds=after),
    )


def move(operation: Operation, state: State, now: datetime) -> None:
    """Move an operation on, in memory; what its table of moves does not allow is left as it is."""
    if operation.state == state or not allowed(operation.state, state):
        return
    if operation.state == State.NEEDS_ATTENTION and state in (*ACTIVE, State.SUCCEEDED):
        operation.error_code = ""
    operation.state = state
    operation.last_news_at = now
    if state == State.RUNNING and operation.started_at is None:
        operation.started_at = now
    operation.finished_at = None if operation.active else now


def fail(operation: Operation, code: str, now: datetime) -> None:
    """End an operation as failed, in memory, with the code of its reason."""
    operation.error_code = code
    move(operation, State.FAILED, now)


def _give_up(claim: Claim, code: str) -> None:
    with in_tenant(claim.tenant_id):
        operation = Operation.objects.select_for_update().get(pk=claim.operation_id)
        if Attempt.objects.filter(pk=claim.attempt_id, fence=claim.fence, sent_at=None).exists():
            fail(operation, code, database_now())
            operation.save()


def _release(claim: Claim, problem: VplusError) -> None:
    """Nothing was sent: give the claim back and try later."""
    with in_tenant(claim.tenant_id):
        attempt = (
            Attempt.objects.select_for_update().filter(pk=claim.attempt_id, fence=claim.fence, sent_at=None).first()
        )
        if attempt is None:
            return
        pause = _pause(attempt.setbacks, problem.retry_after_seconds)
        attempt.claimed_until = None
        attempt.setbacks += 1
        attempt.due_at = database_now() + timedelta(seconds=pause)
        attempt.outcome_reason = problem.user_message[:300]
        attempt.save(update_fields=["claimed_until", "setbacks", "due_at", "outcome_reason"])
    log.warning(
        "not sent yet", operation=str(claim.operation_id), problem=problem.user_message, again_in=round(pause, 1)
    )


def _pause(setbacks: int, asked: float | None, *, at_once: bool = False) -> float:
    """Return seconds to wait before the next try: doubling, with jitter, never shorter than vPlus asked for in reason."""
    if at_once and setbacks == 0:
        return 0
    pause: float = min(settings.VPLUS_SEND_BACKOFF_SECONDS * 2 ** min(setbacks, 10), LONGEST_PAUSE)
    return max(pause * random.uniform(0.8, 1.2), min(asked or 0, LONGEST_ASKED_PAUSE))  # noqa: S311  # jitter, no secret

"""Sending: claim, prepare, mark, send, record. Each writes in a transaction of its own; HTTP happens in none of them.

The mark is committed before the first byte goes out and is never cleared, so whatever dies, nobody sends the same
attempt twice, and an attempt with a mark and no outcome is known to be uncertain (design.md 6, Sending). It is the same
for every write; what a write looks at, sends and makes of its answer is in operations/writes/.
"""

import json
import random
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from tenants.scope import in_tenant
from vplus_bridge.client import Dialect, Invalid, OutcomeKind, VplusClient, VplusError, WriteRequest
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.instants import clean
from vplus_bridge.operations.models import Attempt, Operation, Outcome
from vplus_bridge.operations.moves import State
from vplus_bridge.operations.transitions import again, move
from vplus_bridge.operations.writes import WRITES
from vplus_bridge.operations.writes.write import AlreadyDone, Claim, Prepared, Ready, WorldChanged

log = structlog.get_logger(__name__)
LONGEST_PAUSE = 60.0
LONGEST_ASKED_PAUSE = 900.0  # what vPlus may ask for; beyond it one more question does no harm
CANNOT_BE_WORDED = "cannot_be_worded"


def send_attempt(client: VplusClient, tenant_id: UUID, attempt_id: UUID) -> None:
    """Send one attempt if it is due and nobody else sends it; otherwise do nothing. Safe to call any number of times."""
    claim = _claim(tenant_id, attempt_id)
    if claim is None:
        return
    write = WRITES[claim.action]
    try:
        prepared = write.prepare(client, claim)
        channel = client.open_write()
    except WorldChanged as change:
        _give_up(claim, change.code)
        return
    except AlreadyDone as done:
        _close_unsent(claim, done.guid)
        return
    except VplusError as problem:
        _release(claim, problem)
        return
    with channel:
        began = monotonic()
        try:
            request = _mark(claim, prepared, client.dialect)
        except Invalid as problem:
            # It would be wrong the next time too: what was asked cannot be said in vPlus's words.
            log.warning("a write cannot be worded", operation=str(claim.operation_id), problem=problem.user_message)
            _give_up(claim, CANNOT_BE_WORDED, problem.user_message)
            return
        if request is None:
            return
        # Where this process was paused between mark and send, somebody may already think it dead: it stays silent.
        answer = channel.send(request, begin_before=began + settings.VPLUS_SEND_MARK_SECONDS)
    record(claim, write.look_again(client, claim, answer))


def _claim(tenant_id: UUID, attempt_id: UUID) -> Claim | None:
    """Take the right to send; one row, or nothing. The woken worker and the sweeper run this same statement."""
    with in_tenant(tenant_id), connection.cursor() as cursor:
        action = Attempt.objects.filter(pk=attempt_id).values_list("step__action", flat=True).first()
        write = WRITES.get(action or "")
        if write is None:
            return None
        cursor.execute(
            """
            UPDATE vplus_bridge_attempt attempt
            SET fence = fence + 1, claimed_until = now() + %s * interval '1 second'
            FROM vplus_bridge_step step JOIN vplus_bridge_operation operation ON operation.id = step.operation_id
            WHERE attempt.id = %s AND step.id = attempt.step_id
                AND attempt.sent_at IS NULL AND attempt.outcome = '' AND attempt.due_at <= now()
                AND (attempt.claimed_until IS NULL OR attempt.claimed_until <= now())
                AND (%s OR operation.state = ANY(%s)) AND (%s OR operation.send_until > now())
            RETURNING attempt.fence, operation.id, operation.virtual_machine_guid, operation.send_until,
                attempt.target_guid, attempt.object_name
            """,
            [
                settings.VPLUS_SEND_CLAIM_SECONDS,
                attempt_id,
                not write.sendable,
                sorted(write.sendable),
                not write.has_deadline,
            ],
        )
        row = cursor.fetchone()
        if row is None:
            return None
        fence, operation_id, machine, send_until, target, name = row
        plan = Operation.objects.only("plan").get(pk=operation_id).plan
        return Claim(tenant_id, attempt_id, fence, operation_id, machine, plan, send_until, write.action, target, name)


def _mark(claim: Claim, prepared: Prepared, dialect: Dialect) -> WriteRequest | None:
    """Commit the mark with exactly what will be sent; None where the claim is no longer ours or it is too late.

    Raises client.Invalid where what was asked cannot be worded; then nothing is marked.
    """
    write = WRITES[claim.action]
    with in_tenant(claim.tenant_id), connection.cursor() as cursor:
        # Whoever ends the operation locks its row: either the mark sees that, or the other sees the mark.
        if not Operation.objects.select_for_update(no_key=True).filter(pk=claim.operation_id).exists():
            return None
        # Waiting for the lock may have taken long, so it is the moment that counts, not the transaction's beginning.
        ready: Ready | None = write.ready(dialect, claim, prepared, database_now())
        if ready is None:
            return None
        cursor.execute(
            """
            UPDATE vplus_bridge_attempt attempt
            SET sent_at = clock_timestamp(), stamp = %s, body = %s,
                baseline_tasks = %s::jsonb, baseline_backups = %s::jsonb
            FROM vplus_bridge_step step JOIN vplus_bridge_operation operation ON operation.id = step.operation_id
            WHERE attempt.id = %s AND step.id = attempt.step_id
                AND attempt.fence = %s AND attempt.sent_at IS NULL AND attempt.claimed_until > clock_timestamp()
                AND attempt.outcome = ''
                AND (%s OR operation.state = ANY(%s)) AND (%s OR operation.send_until > clock_timestamp())
            """,
            [
                ready.stamp,
                ready.request.body or f"{ready.request.method} {ready.request.path}",
                json.dumps(prepared.baseline_tasks),
                json.dumps(prepared.baseline_backups),
                claim.attempt_id,
                claim.fence,
                not write.sendable,
                sorted(write.sendable),
                not write.has_deadline,
            ],
        )
        return ready.request if cursor.rowcount == 1 else None


def record(claim: Claim, answer: Answer) -> None:
    """Write down what became of the write, where nothing or only "uncertain" stands, and move the operation on."""
    with in_tenant(claim.tenant_id):
        # The operation's lock first, here and everywhere: two that took them in turns would wait for each other.
        operation = Operation.objects.select_for_update().get(pk=claim.operation_id)
        attempt = Attempt.objects.select_for_update(of=("self",)).select_related("step").get(pk=claim.attempt_id)
        if attempt.outcome not in ("", Outcome.UNCERTAIN) or attempt.task_guid:
            return
        now = database_now()
        attempt.outcome_at, attempt.outcome_reason = now, answer.reason[:300]
        attempt.status_code, attempt.vendor_text = answer.status, clean(answer.vendor_text, 2000)
        kind = WRITES[claim.action].recorded(operation, attempt, answer.kind, answer, now)
        attempt.outcome = str(kind)
        if kind == OutcomeKind.NOT_ACCEPTED:
            _try_again(operation, attempt, answer, now)
        attempt.save()
        operation.save()
    log.info("write recorded", operation=str(claim.operation_id), outcome=str(kind), reason=answer.reason)


def _try_again(operation: Operation, attempt: Attempt, answer: Answer, now: datetime) -> None:
    """Make the next attempt; or, where the work was cancelled meanwhile, let that be the end: nothing was sent."""
    if operation.state == State.CANCELLING and WRITES[attempt.step.action].sendable:
        operation.error_code = "cancelled_before_sending"
        move(operation, State.CANCELLED, now)
        return
    pause = _pause(attempt.setbacks, answer.retry_after_seconds, at_once=answer.needs_sign_in)
    again(attempt, now, after=pause)


def _give_up(claim: Claim, code: str, why: str = "") -> None:
    """End an attempt of which nothing was sent and nothing will be; what that means is the write's to say."""
    with in_tenant(claim.tenant_id):
        operation = Operation.objects.select_for_update().get(pk=claim.operation_id)
        attempt = _unsent(claim)
        if attempt is None:
            return
        now = database_now()
        attempt.outcome, attempt.outcome_at, attempt.outcome_reason = Outcome.NOT_ACCEPTED, now, (why or code)[:300]
        WRITES[claim.action].given_up(operation, attempt, code, now)
        attempt.save()
        operation.save()


def _close_unsent(claim: Claim, guid: str) -> None:
    """Count an attempt as accepted of which nothing was sent: vPlus was seen to hold what it would have brought about."""
    with in_tenant(claim.tenant_id):
        operation = Operation.objects.select_for_update().get(pk=claim.operation_id)
        attempt = _unsent(claim)
        if attempt is None:
            return
        now = database_now()
        answer = Answer(OutcomeKind.ACCEPTED, None, "vPlus holds it already", named=((guid, None),) if guid else ())
        attempt.outcome_at, attempt.outcome_reason = now, answer.reason
        kind = WRITES[claim.action].recorded(operation, attempt, answer.kind, answer, now)
        attempt.outcome = str(kind)
        attempt.save()
        operation.save()
    log.info("nothing to send", operation=str(claim.operation_id), reason=answer.reason)


def _unsent(claim: Claim) -> Attempt | None:
    """Lock the attempt of a claim that still holds and of which nothing was sent."""
    rows = Attempt.objects.select_for_update(of=("self",)).select_related("step")
    return rows.filter(pk=claim.attempt_id, fence=claim.fence, sent_at=None, outcome="").first()


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

"""Following a restore: how far it is, by its RESTORE and its IMPORT. RESTORE finished is not "restored"; IMPORT is.

Works in the open wide scope, on one operation at a time that the caller has locked and saves.
"""

import re
from datetime import datetime, timedelta

from django.conf import settings

from vplus_bridge.client import RestoreJobRecord
from vplus_bridge.mirror.instants import clean
from vplus_bridge.mirror.models import Task
from vplus_bridge.mirror.tasks import note_removed
from vplus_bridge.operations.models import Operation
from vplus_bridge.operations.moves import State
from vplus_bridge.operations.one_bar import RESTORE_SHARE, progress_of
from vplus_bridge.operations.restore_chain import RestoreChain, RestoreEvidence, stitch_restore
from vplus_bridge.operations.transitions import ask_for_attention, fail, move, warn

RESTORE_END_UNKNOWN = "restore_end_unknown"
NAMED_BY_JOB = "named_by_job"
"""Where a plan keeps the guid that the restore job names as the destination."""

# How platforms word their refusals of a new machine, reviewed one by one; what matches none gets general words. Each is
# looked for in an IMPORT's own text alone: a RESTORE without room lacks it in the backup system, not at the target.
REFUSALS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "no_room",
        re.compile(
            r"(not enough|insufficient) (free |disk |storage )*(space|capacity|resources)"
            r"|no (valid host|space left|room)|out of (disk )?space|quota exceeded|exceeds? (the )?quota",
            re.IGNORECASE,
        ),
    ),
    (
        "name_refused",
        re.compile(
            r"(invalid|illegal|bad) (vm |virtual machine |instance |server )?name"
            r"|name .{0,200}?(already exists|already in use|is not allowed|too long|is invalid)"
            r"|(already exists|in use) .{0,80}?name|duplicate name",
            re.IGNORECASE | re.DOTALL,
        ),
    ),
)


def follow_restore(evidence: RestoreEvidence, operation: Operation, now: datetime) -> None:
    """Bring one restore up to date with the mirror, in memory; links to its tasks are written."""
    chain = stitch_restore(evidence, operation)
    if chain is None:
        return
    if operation.active and chain.last is not None:
        _bring_up_to_date(operation, chain, now)
    _finish(operation, chain, evidence, now)


def refusal_in(text: str) -> str | None:
    """Return the code of the reason that a platform's text gives, or None for one that the table does not know."""
    return next((code for code, pattern in REFUSALS if pattern.search(text)), None)


def _bring_up_to_date(operation: Operation, chain: RestoreChain, now: datetime) -> None:
    restore, import_ = chain.restore, chain.import_
    began = import_ is not None or (
        restore is not None and (restore.state in {"RUNNING", "FINISHED"} or restore.started_at is not None)
    )
    if began:
        move(operation, State.RUNNING, now)
        first = restore.started_at if restore is not None else None
        if operation.started_at is not None and first is not None:
            # vPlus's clock may be behind ours: nothing began before it was sent.
            operation.started_at = min(operation.started_at, max(first, chain.attempt.sent_at or first))
    else:
        move(operation, State.SUBMITTED, now)
    if operation.stage != "import":
        done = restore is not None and restore.state == "FINISHED"
        operation.stage = "import" if done or import_ is not None else "restore"
    _advance(operation, chain)


def _advance(operation: Operation, chain: RestoreChain) -> None:
    """Move the one bar over both stages; unknown parts leave it where it is."""
    restore, import_ = chain.restore, chain.import_
    share = operation.plan.get("restore_share", RESTORE_SHARE)
    progress = progress_of([restore] if restore else [], [import_] if import_ else [], share)
    if progress is not None:
        operation.progress = max(operation.progress or 0.0, progress)


def _finish(operation: Operation, chain: RestoreChain, evidence: RestoreEvidence, now: datetime) -> None:
    """End the operation where its end is known: by the IMPORT, or where tasks are gone by the restore job."""
    import_, last = chain.import_, chain.last
    if import_ is not None and import_.state == "FINISHED":
        _succeed(operation, now)
        return
    if last is not None and last.live:
        return
    if last is not None and last.state in {"FAILED", "CANCELLED"}:
        _end_badly(operation, last, now)
        return
    job = evidence.job(operation, chain)
    if job is not None and _by_job(operation, job, now):
        return
    if last is not None and evidence.removed_by_cancel(last):
        # A DELETE removes a task that has ended, too (vplus-api.md 3.7): had ours come that late, an import would follow.
        seen = last.ended_seen_at or now
        if now > seen + timedelta(seconds=settings.VPLUS_SETTLE_ABSENT_SECONDS):
            _end_badly(operation, last, now)
        return
    silent_since = last.ended_seen_at if last is not None else chain.attempt.sent_at
    waited = timedelta(seconds=settings.VPLUS_SEND_TOTAL_SECONDS + settings.VPLUS_SETTLE_ABSENT_SECONDS)
    overdue = silent_since is not None and now > silent_since + waited
    if operation.active and overdue and not evidence.anything_live(operation):
        ask_for_attention(operation, RESTORE_END_UNKNOWN, now)


def _by_job(operation: Operation, job: RestoreJobRecord, now: datetime) -> bool:
    """End the operation by what the restore job says; False where it does not say an end."""
    if job.status == "SUCCESS":
        if job.dst_guid and job.dst_guid != operation.virtual_machine_guid:
            operation.plan[NAMED_BY_JOB] = clean(job.dst_guid, 200)
        _succeed(operation, now)
        return True
    if job.status == "FAILED":
        operation.vendor_text = clean(job.status_info, 4000)
        fail(operation, refusal_in(operation.vendor_text) or "could_not_restore", now)
        return True
    return False


def _succeed(operation: Operation, now: datetime) -> None:
    operation.stage, operation.progress = "import", 100.0
    if operation.cancel_asked_at is not None:
        warn(operation, "too_late_to_cancel")
    move(operation, State.SUCCEEDED, now)


def _end_badly(operation: Operation, last: Task, now: datetime) -> None:
    operation.vendor_text = last.status_info
    if last.state in {"CANCELLED", "QUEUED"}:
        # A queued task that is asked to be cancelled is removed: vPlus forgets it (vplus-api.md 3.7).
        operation.error_code = "cancelled" if operation.cancel_asked_at is not None else "cancelled_in_vplus"
        move(operation, State.CANCELLED, now)
        note_removed(last.guid)
    elif last.type == "IMPORT":
        fail(operation, refusal_in(last.status_info) or "could_not_import", now)
    else:
        fail(operation, "could_not_restore", now)

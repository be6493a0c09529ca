"""How an operation on a policy goes on from step to step, turns back, and ends; whoever calls this holds its lock.

The next step's attempt is made in the same transaction that records the step before, so a worker may die anywhere. Turning
back appends steps that undo what this operation's own attempts brought about, and nothing else.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Max

from vplus_bridge.client import Outcome as Answer
from vplus_bridge.client import OutcomeKind
from vplus_bridge.database_time import database_now
from vplus_bridge.operations.models import Attempt, Operation, Outcome, Step
from vplus_bridge.operations.moves import State
from vplus_bridge.operations.transitions import again, fail, move, warn
from vplus_bridge.operations.wake import wake_sender
from vplus_bridge.protection import outcome
from vplus_bridge.protection.steps import Planned, undoing

log = structlog.get_logger(__name__)
REFUSED = "policy_refused"
LEFT_BEHIND, NOT_PUT_BACK = "left_behind", "not_put_back"
SECOND_RULE = "second_rule "
LATER_SECONDS = 5.0
"""Between two tries where answers get lost; the first one comes at once."""


def begin(operation: Operation, planned: list[Planned]) -> None:
    """Write down an operation's steps and make the first one's attempt."""
    steps = _append(operation, planned, after=0)
    _start(operation, steps[0])


def recorded(operation: Operation, attempt: Attempt, kind: OutcomeKind, answer: Answer, now: datetime) -> OutcomeKind:
    """Go on after an answer, in memory but for new rows; returns the outcome that stands.

    An answer that comes when its sender was taken for dead, and its step has a later attempt, moves nothing: that one finds
    out, or has found out, what became of this one. What vPlus said is kept beside it.
    """
    if Attempt.objects.filter(step=attempt.step, number__gt=attempt.number).exists():
        log.warning("an answer came late", operation=str(operation.pk), step=attempt.step.action, outcome=str(kind))
        return OutcomeKind.UNCERTAIN
    if kind == OutcomeKind.ACCEPTED:
        guid = answer.named[0][0] if answer.named else ""
        attempt.object_guid = guid or attempt.object_guid or attempt.target_guid
        move(operation, State.RUNNING, now)
        attempt.outcome = Outcome.ACCEPTED
        attempt.save()  # the next steps ask the rows what was made
        _go_on(operation, attempt.step, now)
    elif kind == OutcomeKind.UNCERTAIN:
        move(operation, State.RUNNING, now)
        look_again(attempt, now)
    elif kind == OutcomeKind.REFUSED:
        attempt.outcome = Outcome.REFUSED
        attempt.save()
        operation.vendor_text = operation.vendor_text or attempt.vendor_text
        _stop(operation, attempt.step, REFUSED, now)
    return kind


def given_up(operation: Operation, attempt: Attempt, code: str, now: datetime) -> None:
    """Go on after a step that sent nothing because of what it found."""
    attempt.save()
    last = Attempt.objects.filter(step=attempt.step).exclude(vendor_text="").order_by("-number").first()
    operation.vendor_text = operation.vendor_text or (last.vendor_text if last else "")
    if code.startswith(SECOND_RULE):
        _remove_second_rule(operation, attempt.step, code.removeprefix(SECOND_RULE))
    elif attempt.step.action == "policy_check" and code != "cannot_be_worded":
        # Everything was written as meant, and then changed by somebody: our rows say what we wrote, and that it differs.
        outcome.written(operation, now, as_meant=False)
        fail(operation, code, now)
    else:
        _stop(operation, attempt.step, code, now)


def look_again(attempt: Attempt, now: datetime) -> Attempt:
    """Make the attempt that finds out what became of one whose answer was lost; it looks before it sends."""
    after = 0.0 if attempt.setbacks == 0 else LATER_SECONDS * attempt.setbacks
    made = again(attempt, now, after=after)
    transaction.on_commit(partial(wake_sender, attempt.tenant_id, made.pk), robust=True)
    return made


def _go_on(operation: Operation, step: Step, now: datetime) -> None:
    stopped = operation.plan.get("stopped")
    rest = Step.objects.filter(operation=operation, position__gt=step.position).order_by("position")
    following = next((one for one in rest if not stopped or one.spec.get("undo")), None)
    if following is not None:
        _start(operation, following)
    elif stopped:
        _end(operation, stopped["code"], now)
    else:
        outcome.written(operation, now, as_meant=True)
        operation.progress = 100.0
        move(operation, State.SUCCEEDED, now)


def _stop(operation: Operation, step: Step, code: str, now: datetime) -> None:
    """Turn back at a step; what only tidies up, or undoes, is left to the repair instead."""
    if step.spec.get("undo") or step.spec.get("tidy"):
        log.warning("left as it is in vPlus", operation=str(operation.pk), step=step.action, code=code)
        if step.action.endswith("_delete"):
            warn(operation, LEFT_BEHIND)
        elif not step.spec.get("refused"):
            warn(operation, NOT_PUT_BACK)
        _go_on(operation, step, now)
        return
    log.info("a policy operation turns back", operation=str(operation.pk), step=step.action, code=code)
    operation.plan = {**operation.plan, "stopped": {"code": code, "step": step.action, "position": step.position}}
    undo = undoing(_brought_about(operation), refused=step if code == REFUSED else None)
    last = Step.objects.filter(operation=operation).aggregate(last=Max("position"))["last"]
    move(operation, State.RUNNING, now)
    if undo:
        _start(operation, _append(operation, undo, after=last)[0])
    else:
        _end(operation, code, now)


def _end(operation: Operation, code: str, now: datetime) -> None:
    outcome.not_written(operation, now)
    fail(operation, code, now)


def _brought_about(operation: Operation) -> list[tuple[Step, str]]:
    """Return the steps that changed vPlus, or may have, each with the guid of what it made; the latest first."""
    found = []
    for step in Step.objects.filter(operation=operation).order_by("-position"):
        attempts = list(Attempt.objects.filter(step=step))
        accepted = next((one for one in attempts if one.outcome == Outcome.ACCEPTED), None)
        # A refused change may have been made all the same, where vPlus does not tell; putting it back does no harm.
        may_be = (Outcome.UNCERTAIN, Outcome.REFUSED)
        doubtful = any(one.sent_at is not None and one.outcome in may_be for one in attempts)
        if accepted is not None or doubtful:
            found.append((step, accepted.object_guid if accepted else ""))
    return found


def _remove_second_rule(operation: Operation, check: Step, guid: str) -> None:
    """A lost answer left a rule of ours twice: remove one and look again."""
    spec = {"guid": guid, "policy": check.spec["policy"], "tidy": True}
    steps = _append(
        operation,
        [Planned("rule_delete", spec, target_guid=guid), Planned(check.action, check.spec)],
        after=check.position,
    )
    _start(operation, steps[0])


def _append(operation: Operation, planned: list[Planned], *, after: int) -> list[Step]:
    return [
        Step.objects.create(
            tenant_id=operation.tenant_id,
            operation=operation,
            position=position,
            action=one.action,
            spec={**one.spec, "object_name": one.object_name, "target_guid": one.target_guid},
        )
        for position, one in enumerate(planned, after + 1)
    ]


def _start(operation: Operation, step: Step) -> None:
    spec: Mapping[str, Any] = step.spec
    attempt = Attempt.objects.create(
        tenant_id=operation.tenant_id,
        step=step,
        due_at=database_now(),
        object_name=spec["object_name"],
        target_guid=spec["target_guid"],
    )
    forward = Step.objects.filter(operation=operation, position__lte=step.position).count()
    whole = Step.objects.filter(operation=operation).count()
    operation.stage = step.action[:16]
    if not spec.get("undo"):
        operation.progress = max(operation.progress or 0.0, 100.0 * (forward - 1) / whole)
    transaction.on_commit(partial(wake_sender, operation.tenant_id, attempt.pk), robust=True)

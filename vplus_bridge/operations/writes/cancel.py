"""Asking vPlus to stop one task: asked once, never escalated (vplus-api.md 3.7)."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from django.db.models import Q

from tenants.scope import in_tenant
from vplus_bridge.client import Dialect, NotFound, OutcomeKind, VplusClient, VplusError
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.mirror.models import ENDED, Task
from vplus_bridge.mirror.read_state import close_gap, note_gap
from vplus_bridge.mirror.tasks import make_known, may_come
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.moves import Kind, State
from vplus_bridge.operations.transitions import fail, move, warn
from vplus_bridge.operations.writes.write import Claim, Prepared, Ready, WorldChanged, Write
from vplus_bridge.ownership.assignment import attribute_tasks

log = structlog.get_logger(__name__)
GAP = "cancel"
"""The named gap of a server that has no call to cancel."""
NO_SUCH_CALL = "vPlus has no call that cancels a task"
NOT_FOUND, METHOD_NOT_ALLOWED = 404, 405


class CancelWrite(Write):
    """PUT the state of a running task, DELETE a queued one. What becomes of the work, its tasks and record will tell."""

    action = "cancel"
    sendable = frozenset()
    has_deadline = False

    def prepare(self, client: VplusClient, claim: Claim) -> Prepared:
        """Read the task once more: which of the two calls is right depends on its state, and one that ended needs none."""
        client.ensure_session()
        try:
            task = client.task(claim.target_guid)
        except NotFound as problem:
            if problem.html or self._may_come(claim):
                raise  # a page from something in front of vPlus says nothing about the task
            raise WorldChanged("too_late_to_cancel") from None
        if task.state in ENDED:
            raise WorldChanged("too_late_to_cancel")
        # A queued task is removed and forgotten at once: where the mirror never had it, nobody would see that it went.
        make_known(task, attribute_tasks)
        if not _is_ours(claim):
            # An answer had named it by its guid alone, and it is somebody else's (operations/misnamed.py).
            raise WorldChanged("too_late_to_cancel")
        return Prepared([], [], timedelta(), {"state": task.state})

    @staticmethod
    def _may_come(claim: Claim) -> bool:
        with in_tenant(claim.tenant_id):
            return may_come(claim.target_guid)

    def ready(self, dialect: Dialect, claim: Claim, prepared: Prepared, now: datetime) -> Ready | None:
        """Return the call for the state that was read."""
        del now
        if prepared.facts["state"] == "QUEUED":
            return Ready(dialect.cancel_queued_request(claim.target_guid))
        return Ready(dialect.cancel_running_request(claim.target_guid))

    def look_again(self, client: VplusClient, claim: Claim, answer: Answer) -> Answer:
        """Tell a task that is gone by now from a server that has no such call: both may answer 404."""
        if answer.kind != OutcomeKind.REFUSED or answer.status not in (NOT_FOUND, METHOD_NOT_ALLOWED):
            return answer
        try:
            there = client.task(claim.target_guid).state not in ENDED
        except NotFound:
            there = False
        except VplusError as problem:
            log.warning("could not look after a refused cancel", problem=problem.user_message)
            there = answer.status == METHOD_NOT_ALLOWED
        return replace(answer, reason=NO_SUCH_CALL) if there else answer

    def recorded(
        self, operation: Operation, attempt: Attempt, kind: OutcomeKind, answer: Answer, now: datetime
    ) -> OutcomeKind:
        """Say that it was asked, or why it cannot be; whether it was cancelled is not known yet."""
        del attempt
        if kind == OutcomeKind.ACCEPTED:
            close_gap(GAP)
        elif kind == OutcomeKind.REFUSED:
            code = "cancel_refused"
            if answer.reason == NO_SUCH_CALL:
                note_gap(GAP, "not_there", NO_SUCH_CALL)
                code = "cannot_be_cancelled"
            if operation.kind == Kind.CANCEL_TASK:
                fail(operation, code, now)
            else:
                warn(operation, code)
        if operation.kind == Kind.CANCEL_TASK and kind in (OutcomeKind.ACCEPTED, OutcomeKind.UNCERTAIN):
            move(operation, State.CANCELLING, now)
        return kind

    def given_up(self, operation: Operation, attempt: Attempt, code: str, now: datetime) -> None:
        """Nothing was asked of vPlus: the task had ended before. What it came to is told by those who follow it."""
        del attempt
        if operation.kind == Kind.CANCEL_TASK:
            fail(operation, code, now)


def _is_ours(claim: Claim) -> bool:
    """Tell whether the task, as it was read by now, is the tenant's and about the machine of the operation."""
    machine = claim.virtual_machine_guid
    with in_tenant(claim.tenant_id):
        about = Q(virtual_machine_guid=machine) | Q(destination_vm_guid=machine)
        return Task.objects.filter(about, guid=claim.target_guid).exists()

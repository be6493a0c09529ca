"""Writes that make one task of vPlus: a backup's export, a restore. Its chain is what the operation is followed by."""

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar

import structlog

from tenants.scope import in_tenant
from vplus_bridge.client import NotFound, OutcomeKind, TaskRecord, VplusClient
from vplus_bridge.client import Outcome as Answer
from vplus_bridge.mirror.models import Backup, Task
from vplus_bridge.mirror.tasks import expect
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.moves import State
from vplus_bridge.operations.transitions import fail, link_if_free, move, take_up
from vplus_bridge.operations.writes.write import Claim, Prepared, Write

log = structlog.get_logger(__name__)


class TaskWrite(Write):
    """A POST after which vPlus has one task more, of a type that is known."""

    task_type: ClassVar[str]
    """vPlus's word for the task that is made: EXPORT, RESTORE."""
    stage: ClassVar[str]
    """The stage of the operation that this task is, as ChainTask keeps it."""
    later_stages: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Types of tasks that vPlus makes of it afterwards and that are searched for where it itself is never seen, by stage."""
    sent_again_when_absent: ClassVar[bool] = False
    """Whether a write that certainly never arrived may be sent again by itself. A restore never is."""

    @abstractmethod
    def check(self, claim: Claim) -> None:
        """Look once more at what the portal itself decides, in the open scope. Raises WorldChanged."""

    @abstractmethod
    def check_upstream(self, client: VplusClient, claim: Claim) -> Mapping[str, Any]:
        """Look once more at vPlus, reads only, and return what the request needs of it. Raises WorldChanged, VplusError."""

    def contradicts(self, operation: Operation, named: TaskRecord) -> bool:
        """Tell whether the task that an answer names says of itself that this write cannot have made it."""
        del operation, named
        return False

    def prepare(self, client: VplusClient, claim: Claim) -> Prepared:
        """Check the world again, and note every task and backup of the machine that is there before."""
        client.ensure_session()
        guid = claim.virtual_machine_guid
        with in_tenant(claim.tenant_id):
            self.check(claim)
            # What the mirror knows already was there before, also where a list now comes short.
            tasks = set(Task.objects.filter(virtual_machine_guid=guid).values_list("guid", flat=True))
            backups = set(Backup.objects.filter(virtual_machine_guid=guid).values_list("guid", flat=True))
        facts = self.check_upstream(client, claim)
        for page in client.tasks(vm_guid=guid):
            tasks.update(task.guid for task in page if task.vm_guid in (None, guid) or task.dst_guid == guid)
        try:
            for records in client.backups(guid):
                backups.update(backup.guid for backup in records)
        except NotFound:
            log.info("vPlus knows no history of a machine before sending", operation=str(claim.operation_id))
        return Prepared(sorted(tasks), sorted(backups), timedelta(milliseconds=client.clock_offset_ms or 0), facts)

    def recorded(
        self, operation: Operation, attempt: Attempt, kind: OutcomeKind, answer: Answer, now: datetime
    ) -> OutcomeKind:
        """Link the task that was named; an answer that names work of before, or of another's, tells nothing."""
        named = answer.tasks[0].guid if kind == OutcomeKind.ACCEPTED else ""
        if kind == OutcomeKind.ACCEPTED:
            of_others = named in attempt.baseline_tasks or self.contradicts(operation, answer.tasks[0])
            if of_others or not link_if_free(attempt, named, self.stage, "answer"):
                kind = OutcomeKind.UNCERTAIN
        if kind == OutcomeKind.ACCEPTED:
            expect(named, type=self.task_type, machine=operation.virtual_machine_guid, tenant_id=operation.tenant_id)
            take_up(operation, State.SUBMITTED, now)
        elif kind == OutcomeKind.UNCERTAIN:
            if operation.state == State.REQUESTED:
                move(operation, State.SUBMITTED, now)
        elif kind == OutcomeKind.REFUSED:
            operation.vendor_text = attempt.vendor_text
            fail(operation, "refused_by_vplus", now)
        elif operation.state == State.NEEDS_ATTENTION:
            take_up(operation, State.REQUESTED, now)
        return kind

    def given_up(self, operation: Operation, attempt: Attempt, code: str, now: datetime) -> None:
        """End the operation: nothing was sent, and nothing will be."""
        del attempt
        fail(operation, code, now)

"""The export that a backup begins with. Its stamp is the windowStart, which vPlus gives back with the task."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from vplus_bridge.client import Dialect, NotFound, TaskRecord, VplusClient
from vplus_bridge.mirror.instants import instant, to_ms
from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.operations.models import Attempt, Operation
from vplus_bridge.operations.writes.rule_choice import rule_to_export_by
from vplus_bridge.operations.writes.task_write import TaskWrite
from vplus_bridge.operations.writes.write import Claim, Prepared, Ready, WorldChanged
from vplus_bridge.ownership.models import AllowedDestination

log = structlog.get_logger(__name__)
STAMP_APART = timedelta(seconds=3)


class ExportWrite(TaskWrite):
    """POST /tasks/export (vplus-api.md 2.2.3)."""

    action = "export"
    task_type = "EXPORT"
    stage = "export"
    sent_again_when_absent = True

    def check(self, claim: Claim) -> None:
        """See that the machine is still the tenant's and the destination still allowed."""
        if not VirtualMachine.objects.filter(guid=claim.virtual_machine_guid).exists():
            raise WorldChanged("vm_not_yours")
        if not AllowedDestination.objects.filter(destination_guid=claim.plan["destination"]).exists():
            raise WorldChanged("destination_not_allowed")

    def check_upstream(self, client: VplusClient, claim: Claim) -> Mapping[str, Any]:
        """See that vPlus still has the machine on the platform; 404 means unknown, and vPlus will say what it thinks.

        Where exports go by rules, see too that a rule of the machine's policy leads to where the backup is to go.
        """
        policy = None
        try:
            machine = client.virtual_machine(claim.virtual_machine_guid)
            policy = machine.policy_guid
            if not machine.present:
                raise WorldChanged("vm_gone")
        except NotFound:
            # Not every server answers this call for every account.
            log.info("virtual machine could not be asked for before sending", operation=str(claim.operation_id))
        return {"rule": rule_to_export_by(client, claim, policy)} if client.dialect.EXPORTS_BY_RULE else {}

    def contradicts(self, operation: Operation, named: TaskRecord) -> bool:
        """Tell whether it is a task of another kind or of another machine: a proxy can mix up answers."""
        machine = operation.virtual_machine_guid
        return named.type not in (None, self.task_type) or named.vm_guid not in (None, machine)

    def ready(self, dialect: Dialect, claim: Claim, prepared: Prepared, now: datetime) -> Ready | None:
        """Return the request with a stamp that names it alone; None where its window would be over before it begins."""
        stamp = _free_stamp(claim, now, prepared.clock_offset)
        window_end = to_ms((instant(claim.plan["window_end"]) or claim.send_until) + prepared.clock_offset)
        if to_ms(stamp) >= window_end:
            return None
        request = dialect.export_request(
            vm_guid=claim.virtual_machine_guid,
            destination_guid=claim.plan["destination"],
            backup_type=claim.plan["backup_type"],
            priority=claim.plan["priority"],
            window_start_ms=to_ms(stamp),
            window_end_ms=window_end,
            tenant_label=claim.plan["tenant_label"] or str(claim.tenant_id),
            rules=[prepared.facts["rule"]] if "rule" in prepared.facts else None,
            project_uuid=claim.plan["tenant_label"] or None,
        )
        return Ready(request, stamp)


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

"""The verdict on a virtual machine, from evidence that the mirror holds, with the code of its reason.

Protected is only who has a stored, restorable backup young enough for its schedules' promise: the longest gap between two
promised runs, how late the next may start, and a grace for making it (docs/decisions/0009-verdict.md). A verdict ages, so
the instant at which it will turn stands beside it, and a job turns those that are due. What we could not look at is
unknown, never bad: a history that was not read, evidence that ends where contact was lost.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import connection

from vplus_bridge.database_time import database_now
from vplus_bridge.mirror.models import ProtectionStatus, ReadState, VirtualMachine, VplusPolicy
from vplus_bridge.mirror.policies import POLICIES
from vplus_bridge.mirror.read_state import CONTACT, read_at
from vplus_bridge.mirror.sole_writer import one_at_a_time

LOST_AFTER = 3
"""A machine is not protected once its newest restore point is this many times as old as the promise allows."""
LEEWAY = "1 day"
"""What is dated further ahead than clocks differ is dated wrongly, and says nothing of how old it is."""
MOST_TURNED = 5000


class Reason(StrEnum):
    """Why the verdict is what it is; the faces have a sentence for each."""

    HISTORY_NOT_READ = "history_not_read"
    HISTORY_NOT_READ_SINCE = "history_not_read_since"
    NEVER_BACKED_UP = "never_backed_up"
    LAST_FAILED = "last_failed"
    NOTHING_RESTORABLE = "nothing_restorable"
    WITHIN_PROMISE = "within_promise"
    OLDER_THAN_PROMISE = "older_than_promise"
    PROMISE_LOST = "promise_lost"
    NO_POLICY = "no_policy"
    NO_SCHEDULE = "no_schedule"
    PROMISE_NOT_KNOWN = "promise_not_known"
    TIME_NOT_GIVEN = "time_not_given"
    EVIDENCE_ENDED = "evidence_ended"
    VPLUS_UP_TO_DATE = "vplus_up_to_date"
    VPLUS_OUTDATED = "vplus_outdated"
    VPLUS_NO_SCHEDULE = "vplus_no_schedule"


STATUS_OF = {
    Reason.HISTORY_NOT_READ: ProtectionStatus.UNKNOWN,
    Reason.HISTORY_NOT_READ_SINCE: ProtectionStatus.UNKNOWN,
    Reason.NEVER_BACKED_UP: ProtectionStatus.NOT_PROTECTED,
    Reason.LAST_FAILED: ProtectionStatus.NOT_PROTECTED,
    Reason.NOTHING_RESTORABLE: ProtectionStatus.NOT_PROTECTED,
    Reason.WITHIN_PROMISE: ProtectionStatus.PROTECTED,
    Reason.OLDER_THAN_PROMISE: ProtectionStatus.AT_RISK,
    Reason.PROMISE_LOST: ProtectionStatus.NOT_PROTECTED,
    Reason.NO_POLICY: ProtectionStatus.AT_RISK,
    Reason.NO_SCHEDULE: ProtectionStatus.AT_RISK,
    Reason.PROMISE_NOT_KNOWN: ProtectionStatus.UNKNOWN,
    Reason.TIME_NOT_GIVEN: ProtectionStatus.UNKNOWN,
    Reason.EVIDENCE_ENDED: ProtectionStatus.UNKNOWN,
    Reason.VPLUS_UP_TO_DATE: ProtectionStatus.UNKNOWN,
    Reason.VPLUS_OUTDATED: ProtectionStatus.UNKNOWN,
    Reason.VPLUS_NO_SCHEDULE: ProtectionStatus.UNKNOWN,
}
"""Every verdict follows from its reason."""
# Worst first; what is gone comes last, since nobody can do anything about it.
RANK = {"not_protected": 0, "at_risk": 2, "unknown": 4, "protected": 5, "gone": 9}
LOST_RANK = 1
"""Of what is not protected, that which has an old restore point comes after that which has none."""
OUTDATED_RANK = 3
"""Of what we cannot judge, that which vPlus itself calls outdated goes first."""


def judge(vm_guids: Iterable[str] | None = None, *, now: datetime | None = None) -> list[str]:
    """Write the verdict of these virtual machines, or of all, in the open wide scope; return those whose it changed."""
    chosen, values = "", {}
    if vm_guids is not None:
        chosen, values = "WHERE vm.guid = ANY(%(guids)s)", {"guids": list(vm_guids)}
    one_at_a_time()
    now = now or database_now()
    with connection.cursor() as cursor:
        cursor.execute(
            _SQL.format(chosen=chosen),
            {
                **values,
                "now": now,
                "evidence": _evidence_until(now),
                "grace": settings.PROTECTION_GRACE_SECONDS,
                "policies_known": _policies_known(),
            },
        )
        return [guid for guid, worth_telling in cursor.fetchall() if worth_telling]


def turn_due(now: datetime) -> list[str]:
    """Judge anew those whose verdict was to turn by this instant, in the open wide scope; return those that changed."""
    due = VirtualMachine.objects.filter(turns_at__lte=now).order_by("turns_at").values_list("guid", flat=True)
    guids = list(due[:MOST_TURNED])
    return judge(guids, now=now) if guids else []


def judge_waiting(now: datetime) -> list[str]:
    """Judge anew those that waited for contact, in the open wide scope; return those that changed."""
    waiting = VirtualMachine.objects.filter(protection_reason=Reason.EVIDENCE_ENDED)
    guids = list(waiting.values_list("guid", flat=True))
    return judge(guids, now=now) if guids else []


def _evidence_until(now: datetime) -> datetime:
    """Return until when we would have seen a backup: now, or when contact was lost."""
    contact = ReadState.objects.filter(name=CONTACT).first()
    if contact is None or contact.failing_since is None:
        return now
    return min(now, contact.succeeded_at or contact.failing_since)


def _policies_known() -> bool:
    """Tell whether a machine that no policy lists is in none: their list was read, and each one's members too."""
    if read_at(POLICIES)[POLICIES] is None:
        return False
    return not VplusPolicy.objects.filter(gone_at=None, vm_guids=None).exists()


def _cases() -> str:
    """Return SQL for the status of a reason."""
    return " ".join(f"WHEN '{reason}' THEN '{status}'" for reason, status in STATUS_OF.items())


_SQL = f"""
    WITH facts AS (
        SELECT vm.guid, vm.present AND vm.absent_since IS NULL AS here, vm.history_read_at IS NOT NULL AS read,
            vm.restore_point_count > 0 AS has_point, vm.up_to_date, vm.last_attempt_failed_at IS NOT NULL AS failed,
            vm.newest_point_at AS point_at, vm.newest_point_time_given AS time_given,
            vm.policy_guid <> '' OR vm.policy_name <> '' AS in_policy,
            promise.state AS promise, promise.next_run_at,
            -- Something is new, and trying to read it did not work: until then we looked, no longer.
            CASE WHEN vm.history_wanted_at > vm.history_read_at AND vm.history_tried_at > vm.history_read_at
                THEN vm.history_read_at END AS looked_until,
            CASE WHEN promise.state = 'known' THEN promise.allowance_seconds + %(grace)s END AS allowed,
            EXISTS (SELECT FROM vplus_bridge_backup b WHERE b.virtual_machine_guid = vm.guid
                AND (vm.tenant_id IS NULL OR b.tenant_id = vm.tenant_id)) AS tried
        FROM vplus_bridge_virtualmachine vm LEFT JOIN vplus_bridge_policypromise promise
            ON promise.policy_guid = vm.policy_guid
            AND coalesce(promise.tenant_id, '00000000-0000-0000-0000-000000000000')
                = coalesce(vm.tenant_id, '00000000-0000-0000-0000-000000000000')
        {{chosen}}
    ), aged AS (
        SELECT *, point_at + allowed * interval '1 second' AS old_at,
            point_at + allowed * {LOST_AFTER} * interval '1 second' AS lost_at
        FROM facts
    ), reasoned AS (
        SELECT *, CASE
            WHEN NOT read THEN '{Reason.HISTORY_NOT_READ}'
            WHEN NOT has_point AND looked_until IS NOT NULL THEN '{Reason.HISTORY_NOT_READ_SINCE}'
            WHEN NOT has_point AND NOT tried THEN '{Reason.NEVER_BACKED_UP}'
            WHEN NOT has_point AND failed THEN '{Reason.LAST_FAILED}'
            WHEN NOT has_point THEN '{Reason.NOTHING_RESTORABLE}'
            WHEN point_at IS NULL OR NOT time_given OR point_at > %(now)s + interval '{LEEWAY}' THEN '{Reason.TIME_NOT_GIVEN}'
            WHEN NOT in_policy AND %(policies_known)s THEN '{Reason.NO_POLICY}'
            WHEN NOT in_policy AND up_to_date THEN '{Reason.VPLUS_UP_TO_DATE}'
            WHEN NOT in_policy AND NOT up_to_date THEN '{Reason.VPLUS_OUTDATED}'
            WHEN NOT in_policy THEN '{Reason.VPLUS_NO_SCHEDULE}'
            WHEN promise = 'none' THEN '{Reason.NO_SCHEDULE}'
            WHEN allowed IS NULL THEN '{Reason.PROMISE_NOT_KNOWN}'
            WHEN %(now)s <= old_at THEN '{Reason.WITHIN_PROMISE}'
            WHEN %(evidence)s <= old_at THEN '{Reason.EVIDENCE_ENDED}'
            WHEN looked_until <= old_at THEN '{Reason.HISTORY_NOT_READ_SINCE}'
            WHEN least(%(evidence)s, looked_until) <= lost_at THEN '{Reason.OLDER_THAN_PROMISE}'
            ELSE '{Reason.PROMISE_LOST}' END AS reason
        FROM aged
    ), judged AS (
        SELECT guid, reason, CASE reason {_cases()} END AS status, allowed,
            CASE WHEN here THEN next_run_at END AS next_run_at,
            CASE WHEN reason = '{Reason.WITHIN_PROMISE}' THEN old_at
                 WHEN reason = '{Reason.OLDER_THAN_PROMISE}' AND lost_at > %(now)s THEN lost_at END AS turns_at,
            CASE WHEN NOT here THEN {RANK["gone"]}
                 WHEN reason = '{Reason.PROMISE_LOST}' THEN {LOST_RANK}
                 WHEN reason = '{Reason.VPLUS_OUTDATED}' THEN {OUTDATED_RANK}
                 ELSE CASE CASE reason {_cases()} END
                    {" ".join(f"WHEN '{status}' THEN {RANK[status]}" for status in ProtectionStatus.values)} END
                 END AS rank
        FROM reasoned
    ), before AS (
        SELECT vm.guid, vm.protection_status, vm.protection_reason FROM vplus_bridge_virtualmachine vm
        JOIN judged USING (guid)
    )
    UPDATE vplus_bridge_virtualmachine vm
    SET protection_status = judged.status, protection_reason = judged.reason, attention_rank = judged.rank,
        promise_seconds = judged.allowed, next_run_at = judged.next_run_at, turns_at = judged.turns_at
    FROM judged JOIN before USING (guid) WHERE judged.guid = vm.guid
        AND (vm.protection_status, vm.protection_reason, vm.attention_rank, vm.promise_seconds, vm.next_run_at, vm.turns_at)
            IS DISTINCT FROM (judged.status, judged.reason, judged.rank, judged.allowed, judged.next_run_at, judged.turns_at)
    RETURNING vm.guid,
        (before.protection_status, before.protection_reason) IS DISTINCT FROM (judged.status, judged.reason)
    """  # noqa: S608  # constants of this module

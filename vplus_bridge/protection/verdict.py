"""The verdict on a virtual machine, from evidence that the mirror holds, with the code of its reason.

Until schedules are known here, nothing is called protected: a machine without a restore point is not protected, and
of every other one we say what vPlus says of it. Until its history was read it is unknown, never bad (design.md 2).
"""

from collections.abc import Iterable
from enum import StrEnum

from django.db import connection

from vplus_bridge.mirror.sole_writer import one_at_a_time


class Reason(StrEnum):
    """Why the verdict is what it is; the faces have a sentence for each."""

    HISTORY_NOT_READ = "history_not_read"
    NEVER_BACKED_UP = "never_backed_up"
    LAST_FAILED = "last_failed"
    NOTHING_RESTORABLE = "nothing_restorable"
    VPLUS_UP_TO_DATE = "vplus_up_to_date"
    VPLUS_OUTDATED = "vplus_outdated"
    VPLUS_NO_SCHEDULE = "vplus_no_schedule"


# Worst first; what is gone comes last, since nobody can do anything about it.
RANK = {"not_protected": 0, "outdated": 1, "at_risk": 2, "unknown": 3, "protected": 4, "gone": 9}


def judge(vm_guids: Iterable[str] | None = None) -> list[str]:
    """Write the verdict of these virtual machines, or of all, in the open wide scope; return those whose it changed."""
    chosen, values = "", []
    if vm_guids is not None:
        chosen, values = "WHERE guid = ANY(%s)", [list(vm_guids)]
    one_at_a_time()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH facts AS (
                SELECT guid, present AND absent_since IS NULL AS here, history_read_at IS NOT NULL AS read,
                    restore_point_count > 0 AS has_point, up_to_date, last_attempt_failed_at IS NOT NULL AS failed,
                    EXISTS (SELECT FROM vplus_bridge_backup b WHERE b.virtual_machine_guid = vm.guid) AS tried
                FROM vplus_bridge_virtualmachine vm {chosen}
            ), judged AS (
                SELECT guid,
                    CASE WHEN read AND NOT has_point THEN 'not_protected' ELSE 'unknown' END AS status,
                    CASE WHEN NOT read THEN '{Reason.HISTORY_NOT_READ}'
                         WHEN NOT has_point AND NOT tried THEN '{Reason.NEVER_BACKED_UP}'
                         WHEN NOT has_point AND failed THEN '{Reason.LAST_FAILED}'
                         WHEN NOT has_point THEN '{Reason.NOTHING_RESTORABLE}'
                         WHEN up_to_date THEN '{Reason.VPLUS_UP_TO_DATE}'
                         WHEN NOT up_to_date THEN '{Reason.VPLUS_OUTDATED}'
                         ELSE '{Reason.VPLUS_NO_SCHEDULE}' END AS reason,
                    CASE WHEN NOT here THEN {RANK["gone"]}
                         WHEN read AND NOT has_point THEN {RANK["not_protected"]}
                         WHEN read AND NOT up_to_date THEN {RANK["outdated"]}
                         ELSE {RANK["unknown"]} END AS rank
                FROM facts
            )
            UPDATE vplus_bridge_virtualmachine vm
            SET protection_status = judged.status, protection_reason = judged.reason, attention_rank = judged.rank
            FROM judged WHERE judged.guid = vm.guid
                AND (vm.protection_status, vm.protection_reason, vm.attention_rank)
                    IS DISTINCT FROM (judged.status, judged.reason, judged.rank)
            RETURNING vm.guid
            """,  # noqa: S608  # constants of this module
            values,
        )
        return [guid for (guid,) in cursor.fetchall()]

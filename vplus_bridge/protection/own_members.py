"""What our own policies changed a moment ago, before the mirror has read it again: so that a machine's promise follows at once.

Our rows say what was written and seen in vPlus, so they are the newer word until the policy's detail is read after them.
In the open wide scope.
"""

from datetime import datetime, timedelta

from django.db import connection

from vplus_bridge.mirror.models import VirtualMachine
from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.protection.models import Policy

LATELY = timedelta(minutes=15)
"""By then the mirror has read every policy again."""


def changed_lately(now: datetime) -> list[str]:
    """Return the guids in vPlus of our policies that were made, changed or deleted a moment ago."""
    rows = Policy.objects.filter(attached=False, changed_at__gt=now - LATELY).exclude(vplus_guid="")
    return list(rows.values_list("vplus_guid", flat=True))


def tell_members(now: datetime) -> list[str]:
    """Write on machines' rows which of our policies they came into or left; return those of which it changed."""
    one_at_a_time()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH newer AS (
                SELECT own.id, own.tenant_id, own.vplus_guid, left(own.wire_name, 300) AS wire_name, own.state
                FROM vplus_bridge_policy own LEFT JOIN vplus_bridge_vpluspolicy held ON held.guid = own.vplus_guid
                WHERE NOT own.attached AND own.vplus_guid <> '' AND own.changed_at > %s
                    AND (held.detail_read_at IS NULL OR held.detail_read_at < own.changed_at)
            ), told AS (
                SELECT vm.guid, newer.vplus_guid AS policy_guid, newer.wire_name AS policy_name
                FROM newer JOIN vplus_bridge_policymember member ON member.policy_id = newer.id AND newer.state = 'kept'
                    JOIN vplus_bridge_virtualmachine vm
                        ON vm.guid = member.virtual_machine_guid AND vm.tenant_id = newer.tenant_id
                UNION ALL
                SELECT vm.guid, '', '' FROM newer JOIN vplus_bridge_virtualmachine vm ON vm.policy_guid = newer.vplus_guid
                -- Whoever's it is by now: as long as a row says so, vPlus has it in that policy.
                WHERE NOT EXISTS (SELECT FROM vplus_bridge_policymember member
                    WHERE member.virtual_machine_guid = vm.guid)
            )
            UPDATE vplus_bridge_virtualmachine vm SET policy_guid = told.policy_guid, policy_name = told.policy_name,
                policy_by_members = told.policy_guid <> '', policy_since = %s, changed_at = now()
            FROM told WHERE told.guid = vm.guid AND vm.policy_guid <> told.policy_guid
            RETURNING vm.guid
            """,
            [now - LATELY, now],
        )
        return [guid for (guid,) in cursor.fetchall()]


def machines_of(policy_guids: list[str]) -> list[str]:
    """Return the machines that are in these policies of vPlus."""
    return list(VirtualMachine.objects.filter(policy_guid__in=policy_guids).values_list("guid", flat=True))

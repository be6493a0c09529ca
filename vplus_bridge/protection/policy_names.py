"""What a tenant may read as the name of a machine's policy: its own policies' names, never those of others.

Names in vPlus are unique over everybody and can tell whose they are. The name stands on the machine's row, so that lists
only read; empty, while the machine is in a policy, it is shown as one of the provider's.
"""

from collections.abc import Iterable

from django.db import connection

from vplus_bridge.mirror.sole_writer import one_at_a_time


def name_policies(vm_guids: Iterable[str] | None = None) -> int:
    """Write the names that may be read, of these machines or of all, in the open wide scope; return how many changed."""
    chosen, values = "", []
    if vm_guids is not None:
        chosen, values = "WHERE vm.guid = ANY(%s)", [list(vm_guids)]
    one_at_a_time()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH named AS (
                SELECT vm.guid, left(coalesce(own.name, attached.name, ''), 300) AS label
                FROM vplus_bridge_virtualmachine vm
                LEFT JOIN vplus_bridge_policy own ON own.vplus_guid = vm.policy_guid AND own.vplus_guid <> ''
                    AND own.tenant_id = vm.tenant_id AND own.state IN ('making', 'kept')
                LEFT JOIN vplus_bridge_vpluspolicy attached
                    ON attached.guid = vm.policy_guid AND attached.tenant_id = vm.tenant_id
                {chosen}
            )
            UPDATE vplus_bridge_virtualmachine vm SET policy_label = named.label
            FROM named WHERE named.guid = vm.guid AND vm.policy_label <> named.label
            """,  # noqa: S608  # constants of this module
            values,
        )
        return int(cursor.rowcount)

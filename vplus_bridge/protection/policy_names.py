"""Names of policies: which are taken, and what a tenant may read as the name of a machine's policy.

That is its own policies' names, never those of others.

Names in vPlus are unique over everybody and can tell whose they are. The name stands on the machine's row, so that lists
only read; empty, while the machine is in a policy, it is shown as one of the provider's.
"""

from collections.abc import Iterable

from django.db import connection
from django.db.models import QuerySet, Value
from django.db.models.functions import Lower

from vplus_bridge.mirror.sole_writer import one_at_a_time
from vplus_bridge.protection.models import LIVING, Policy


def called(rows: QuerySet[Policy], name: str) -> QuerySet[Policy]:
    """Return those of these policies that bear this name, as the index compares that keeps a tenant's names apart.

    Comparing capitals would not do: those of two letters can differ where the small ones are the same.
    """
    return rows.filter(state__in=LIVING).alias(small=Lower("name")).filter(small=Lower(Value(name)))


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
                -- What our rows say of members goes first: the mirror may not have read it again yet.
                SELECT vm.guid, left(coalesce(chosen.name, own.name, ''), 300) AS label
                FROM vplus_bridge_virtualmachine vm
                LEFT JOIN vplus_bridge_policymember member
                    ON member.virtual_machine_guid = vm.guid AND member.tenant_id = vm.tenant_id
                LEFT JOIN vplus_bridge_policy chosen ON chosen.id = member.policy_id AND chosen.state = 'kept'
                LEFT JOIN vplus_bridge_policy own ON own.vplus_guid = vm.policy_guid AND own.vplus_guid <> ''
                    AND own.tenant_id = vm.tenant_id AND own.state = 'kept'
                {chosen}
            )
            UPDATE vplus_bridge_virtualmachine vm SET policy_label = named.label
            FROM named WHERE named.guid = vm.guid AND vm.policy_label <> named.label
            """,  # noqa: S608  # constants of this module
            values,
        )
        return int(cursor.rowcount)

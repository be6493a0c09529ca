"""Whose the mirrored policies and schedules are: those that our own rows name, by their tenant. Works in the open wide scope.

A label that vPlus gives back is never proof (vplus-api.md 4.1). What nobody's rows name stays the provider's.
"""

from django.db import connection


def attribute_mirrored() -> int:
    """Give mirrored policies and schedules to the tenant whose rows name them, and take back others; count the changes.

    A schedule that policies of two tenants use stays with the one that made it; one that we did not make is nobody's.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH mine AS (
                SELECT vplus_guid AS guid, tenant_id FROM vplus_bridge_policy WHERE state = 'kept' AND vplus_guid <> ''
            )
            UPDATE vplus_bridge_vpluspolicy held SET tenant_id = mine.tenant_id
            FROM vplus_bridge_vpluspolicy row LEFT JOIN mine ON mine.guid = row.guid
            WHERE row.guid = held.guid AND held.tenant_id IS DISTINCT FROM mine.tenant_id
            """
        )
        changed = int(cursor.rowcount)
        cursor.execute(
            """
            WITH named AS (
                SELECT schedule.guid, policy.tenant_id
                FROM vplus_bridge_vplusschedule schedule, unnest(schedule.rule_guids) AS rule_guid
                    JOIN vplus_bridge_vpluspolicy policy
                        ON policy.rules @> jsonb_build_array(jsonb_build_object('guid', rule_guid))
                WHERE policy.gone_at IS NULL
            ), mine AS (
                SELECT vplus_guid AS guid, tenant_id FROM vplus_bridge_carrier
                UNION ALL
                SELECT guid, (array_agg(tenant_id))[1] FROM named
                WHERE guid NOT IN (SELECT vplus_guid FROM vplus_bridge_carrier)
                GROUP BY guid HAVING count(DISTINCT coalesce(tenant_id::text, '')) = 1
            )
            UPDATE vplus_bridge_vplusschedule held SET tenant_id = mine.tenant_id
            FROM vplus_bridge_vplusschedule row LEFT JOIN mine ON mine.guid = row.guid
            WHERE row.guid = held.guid AND held.tenant_id IS DISTINCT FROM mine.tenant_id
            """
        )
        return changed + int(cursor.rowcount)

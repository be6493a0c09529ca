"""A tenant sees the platform's places that its own restore targets name: their platform, names and free room."""

from django.db import migrations

from tenants.row_security import TENANT_IN_SCOPE


class Migration(migrations.Migration):
    dependencies = [("vplus_bridge", "0010_where_policies_lead")]

    operations = [
        migrations.RunSQL(
            f"""
            CREATE POLICY place_of_target ON vplus_bridge_infrastructureitem FOR SELECT TO portal USING (EXISTS (
                SELECT FROM vplus_bridge_allowedrestoretarget target
                WHERE target.tenant_id = {TENANT_IN_SCOPE} AND (
                    kind = 'manager' AND guid = target.manager_guid AND guid <> ''
                    OR kind = 'hypervisor' AND guid = target.hypervisor_guid AND guid <> ''
                    OR kind = 'cluster' AND uuid = target.cluster_uuid AND uuid <> ''
                    OR kind = 'storage' AND uuid = target.storage_uuid AND uuid <> '')
            ));
            """,
            "DROP POLICY place_of_target ON vplus_bridge_infrastructureitem;",
        )
    ]

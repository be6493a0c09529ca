"""EXPORT and STORE of a schedule's backup are one run, and the first of them bears what became of it."""

import django.db.models.functions.comparison
from django.db import migrations, models

# What was known before is judged by what names it alone; what is still under way the next reading judges.
JUDGED = """
UPDATE vplus_bridge_task SET run_ended = true, run_state = CASE
    WHEN type = 'EXPORT' AND state = 'FINISHED' THEN 'unknown'
    WHEN type = 'IMPORT' AND state = 'FINISHED' THEN 'done'
    WHEN state = 'FINISHED' THEN 'finished'
    WHEN state = 'FAILED' THEN 'failed'
    WHEN state = 'CANCELLED' THEN 'cancelled'
    ELSE 'unknown' END
WHERE NOT live AND NOT of_operation;

UPDATE vplus_bridge_task later SET run_guid = first.guid, run_ended = false, run_state = ''
FROM vplus_bridge_task first
WHERE first.guid = later.parent_guid AND (later.type, first.type) IN (('STORE', 'EXPORT'), ('IMPORT', 'RESTORE'))
    AND NOT later.of_operation AND NOT first.of_operation
    AND first.virtual_machine_guid = later.virtual_machine_guid AND first.tenant_id IS NOT DISTINCT FROM later.tenant_id;

UPDATE vplus_bridge_task later SET run_guid = first.guid, run_ended = false, run_state = ''
FROM (
    SELECT backup_guid, min(guid) AS guid, min(virtual_machine_guid) AS machine, min(tenant_id::text) AS tenant
    FROM vplus_bridge_task WHERE type = 'EXPORT' AND backup_guid <> '' AND state = 'FINISHED' AND NOT of_operation
    GROUP BY backup_guid HAVING count(*) = 1
) first
WHERE later.type = 'STORE' AND later.parent_guid = '' AND later.backup_guid = first.backup_guid AND NOT later.of_operation
    AND later.virtual_machine_guid = first.machine AND later.tenant_id::text IS NOT DISTINCT FROM first.tenant;

UPDATE vplus_bridge_task head SET
    run_backup_guid = CASE WHEN last.type = 'STORE' THEN last.backup_guid ELSE '' END,
    run_ended = NOT last.live,
    run_state = CASE
        WHEN last.live THEN ''
        WHEN last.type = 'IMPORT' AND last.state = 'FINISHED' THEN 'done'
        WHEN last.state = 'FINISHED' THEN 'finished'
        WHEN last.state = 'FAILED' THEN 'failed'
        WHEN last.state = 'CANCELLED' THEN 'cancelled'
        ELSE 'unknown' END
FROM (
    SELECT DISTINCT ON (run_guid) run_guid, type, state, live, backup_guid FROM vplus_bridge_task WHERE run_guid <> ''
    ORDER BY run_guid, live DESC, state = 'FINISHED' DESC, first_seen_at DESC
) last
WHERE last.run_guid = head.guid;

UPDATE vplus_bridge_task head SET run_backup_guid = backup.guid, run_state = CASE
    WHEN backup.status IN ('SUCCESS', 'SUCCESS_REMOVED') THEN 'done'
    WHEN backup.status = 'PARTIAL_SUCCESS' THEN 'in_part'
    WHEN head.run_state = 'cancelled' THEN 'cancelled'
    ELSE 'failed' END
FROM vplus_bridge_backup backup
WHERE backup.guid = coalesce(nullif(head.run_backup_guid, ''), nullif(head.backup_guid, ''))
    AND backup.virtual_machine_guid = head.virtual_machine_guid
    AND backup.status IN ('SUCCESS', 'SUCCESS_REMOVED', 'PARTIAL_SUCCESS', 'FAILED')
    AND head.type IN ('EXPORT', 'STORE') AND head.run_ended AND head.run_guid = '' AND NOT head.of_operation;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0003_audit_age'),
        ('vplus_bridge', '0011_places_of_targets'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='task',
            name='task_active_first',
        ),
        migrations.AddField(
            model_name='task',
            name='run_backup_guid',
            field=models.CharField(blank=True, default='', help_text='the record that the whole run makes, where it can be told', max_length=200),
        ),
        migrations.AddField(
            model_name='task',
            name='run_changed_at',
            field=models.DateTimeField(help_text='when what is said of the whole run last changed', null=True),
        ),
        migrations.AddField(
            model_name='task',
            name='run_ended',
            field=models.BooleanField(default=False, help_text='of the whole run'),
        ),
        migrations.AddField(
            model_name='task',
            name='run_guid',
            field=models.CharField(blank=True, default='', help_text='first task of the run that it goes on with; empty: it is the first', max_length=200),
        ),
        migrations.AddField(
            model_name='task',
            name='run_state',
            field=models.CharField(blank=True, default='', help_text='of the whole run; empty: not judged yet', max_length=10),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(models.F('tenant'), models.Case(models.When(run_ended=False, then=models.Value(0)), default=models.Value(1), output_field=models.IntegerField()), models.OrderBy(models.F('shown_at'), descending=True), django.db.models.functions.comparison.Collate(django.db.models.functions.comparison.Cast('guid', models.TextField()), 'C'), condition=models.Q(('of_operation', False), ('run_guid', '')), name='run_active_first'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('of_operation', False), ('run_ended', False), ('run_guid', '')), fields=['guid'], name='task_run_open'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('run_guid', ''), _negated=True), fields=['run_guid'], name='task_of_run'),
        ),
        migrations.AddIndex(
            model_name='task',
            index=models.Index(condition=models.Q(('run_backup_guid', ''), _negated=True), fields=['run_backup_guid'], name='run_of_backup'),
        ),
        # Last: PostgreSQL makes no index of a table whose rows have changed in the same transaction.
        migrations.RunSQL(JUDGED, migrations.RunSQL.noop),
    ]

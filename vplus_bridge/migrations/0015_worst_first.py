"""Machines without any restore point come before those whose newest one is too old."""

from django.db import migrations, models

RANKED_ANEW = """
UPDATE vplus_bridge_virtualmachine SET attention_rank = CASE
    WHEN attention_rank BETWEEN 1 AND 4 THEN attention_rank + 1
    ELSE 1 END
WHERE attention_rank BETWEEN 1 AND 4 OR (attention_rank = 0 AND protection_reason = 'promise_lost');
"""


class Migration(migrations.Migration):
    dependencies = [("vplus_bridge", "0014_runs_by_their_end")]

    operations = [
        migrations.AlterField(
            model_name="virtualmachine",
            name="attention_rank",
            field=models.PositiveSmallIntegerField(default=4, help_text="0 is worst; orders lists"),
        ),
        migrations.RunSQL(RANKED_ANEW, migrations.RunSQL.noop),
    ]

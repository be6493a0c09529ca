from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("vplus_bridge", "0012_runs")]

    operations = [
        migrations.AddField(
            model_name="expectedrun",
            name="standing",
            field=models.CharField(
                blank=True,
                default="",
                help_text="held: promised and due until its window was over; a code of evidence.Why: not so; "
                "empty: not known yet",
                max_length=24,
            ),
            preserve_default=False,
        ),
    ]

"""The index of runs by the column itself: PostgreSQL knows how many have ended, and so reads a page and stops."""

from django.db import migrations, models
from django.db.models.functions import Cast, Collate


class Migration(migrations.Migration):
    dependencies = [("vplus_bridge", "0013_standing_of_runs")]

    operations = [
        migrations.RemoveIndex(model_name="task", name="run_active_first"),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                "tenant",
                "run_ended",
                models.F("shown_at").desc(),
                Collate(Cast("guid", models.TextField()), "C"),
                name="run_ended_last",
                condition=models.Q(of_operation=False, run_guid=""),
            ),
        ),
    ]

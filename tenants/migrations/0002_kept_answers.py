import django.db.models.deletion
import django.utils.timezone
import uuid
from django.db import migrations, models

from tenants.row_security import guard_by_tenant, pointer_within_tenant


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0001_who_may'),
    ]

    operations = [
        migrations.CreateModel(
            name='KeptAnswer',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('key', models.CharField(max_length=255)),
                ('fingerprint', models.CharField(help_text='SHA-256 of what was asked, hexadecimal', max_length=64)),
                ('status', models.PositiveSmallIntegerField(help_text='HTTP status; empty only inside the transaction', null=True)),
                ('body', models.BinaryField(default=bytes, help_text='sealed with what the token says, which is kept nowhere')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('token', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.token')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'indexes': [models.Index(fields=['created_at'], name='kept_answer_age')],
                'constraints': [models.UniqueConstraint(fields=('token', 'key'), name='kept_answer_once')],
            },
        ),
        guard_by_tenant("tenants_keptanswer"),
        pointer_within_tenant("tenants_keptanswer", "token_id", "tenants_token"),
    ]

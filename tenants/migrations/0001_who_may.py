import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

from tenants.row_security import append_only, grant_runtime_roles, guard_by_tenant, pointer_within_tenant


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        grant_runtime_roles(),
        migrations.CreateModel(
            name='Person',
            fields=[
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('email', models.EmailField(max_length=254, unique=True)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('provider_role', models.CharField(blank=True, choices=[('operator', 'Operator'), ('auditor', 'Auditor')], max_length=10)),
                ('time_zone', models.CharField(blank=True, help_text="IANA zone; empty: the tenant's", max_length=64)),
                ('theme', models.CharField(blank=True, choices=[('', 'System'), ('light', 'Light'), ('dark', 'Dark')], max_length=5)),
                ('is_active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('last_tenant_slug', models.SlugField(blank=True, help_text='where / leads', max_length=63)),
            ],
            options={
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.Lower('email'), name='person_email_any_case')],
            },
        ),
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('slug', models.CharField(max_length=63, unique=True, validators=[django.core.validators.RegexValidator('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$', 'Use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends.')])),
                ('name', models.CharField(max_length=200)),
                ('vplus_tenant_id', models.CharField(blank=True, help_text='OpenStack project uuid; written as a label on what we make in vPlus', max_length=64)),
                ('time_zone', models.CharField(default='UTC', help_text='IANA zone', max_length=64)),
                ('visibility', models.CharField(choices=[('all', 'All of them'), ('granted', 'Only those granted to them')], default='all', max_length=8)),
                ('suspended_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'base_manager_name': 'objects',
                'constraints': [models.UniqueConstraint(condition=models.Q(('vplus_tenant_id', ''), _negated=True), fields=('vplus_tenant_id',), name='tenant_vplus_id_once')],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[('admin', 'Admin'), ('operator', 'Operator'), ('viewer', 'Viewer')], max_length=8)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('email', models.EmailField(max_length=254)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('last_seen_at', models.DateTimeField(blank=True, null=True)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Grant',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('virtual_machine_guid', models.CharField(max_length=200)),
                ('role', models.CharField(choices=[('admin', 'Admin'), ('operator', 'Operator'), ('viewer', 'Viewer')], max_length=8)),
                ('until', models.DateTimeField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('granted_by_name', models.CharField(max_length=254)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('membership', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='tenants.membership')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='AuditEvent',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('actor_id', models.UUIDField(help_text='person; empty: the portal itself or a command', null=True)),
                ('actor_name', models.CharField(max_length=254)),
                ('actor_role', models.CharField(blank=True, max_length=20)),
                ('via', models.CharField(help_text="page, or the token's name, or command", max_length=120)),
                ('address', models.GenericIPAddressField(blank=True, null=True)),
                ('action', models.CharField(help_text='verb.object, such as operation.backup or members.invite', max_length=64)),
                ('object_kind', models.CharField(blank=True, max_length=40)),
                ('object_id', models.CharField(blank=True, max_length=200)),
                ('object_name', models.CharField(blank=True, max_length=300)),
                ('result', models.CharField(choices=[('done', 'Done'), ('refused', 'Refused')], max_length=8)),
                ('code', models.CharField(blank=True, help_text='of the refusal', max_length=64)),
                ('detail', models.JSONField(blank=True, default=dict, help_text='before and after, or what was asked; never a secret')),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('reference', models.CharField(blank=True, max_length=9)),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Token',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('owner_name', models.CharField(help_text='name or e-mail address of the person, for lists', max_length=254)),
                ('name', models.CharField(max_length=100)),
                ('digest', models.CharField(help_text='SHA-256 of the token, hexadecimal', max_length=64, unique=True)),
                ('tail', models.CharField(help_text='last characters, so that people can tell tokens apart', max_length=4)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), blank=True, default=list, help_text='empty: all the person may', size=None)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
            },
        ),
        migrations.AddIndex(
            model_name='membership',
            index=models.Index(fields=['person'], name='membership_person'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.UniqueConstraint(fields=('tenant', 'person'), name='membership_once'),
        ),
        migrations.AddConstraint(
            model_name='grant',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('membership', 'virtual_machine_guid'), name='grant_once_while_open'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['tenant', '-at'], name='audit_newest'),
        ),
        guard_by_tenant("tenants_tenant", column="id"),
        guard_by_tenant("tenants_membership"),
        guard_by_tenant("tenants_grant"),
        pointer_within_tenant("tenants_grant", "membership_id", "tenants_membership"),
        guard_by_tenant("tenants_token"),
        guard_by_tenant("tenants_auditevent"),
        append_only("tenants_auditevent"),
    ]

"""Webhooks and their deliveries. Deliveries are insert-only, no webhook is deleted."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


FORWARD = """
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON triggers_delivery
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_delete BEFORE DELETE ON triggers_hook
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON triggers_delivery
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON triggers_hook
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
BACKWARD = """
DROP TRIGGER insert_only ON triggers_delivery;
DROP TRIGGER no_delete ON triggers_hook;
DROP TRIGGER no_truncate ON triggers_delivery;
DROP TRIGGER no_truncate ON triggers_hook;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0003_saved_plans'),
        ('runs', '0024_fallbacks'),
        ('triggers', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Hook',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('revision', models.PositiveIntegerField(null=True)),
                ('inputs', models.JSONField()),
                ('mapping', models.JSONField()),
                ('owner', models.CharField(max_length=60)),
                ('owner_name', models.CharField(max_length=150)),
                ('state', models.CharField(default='active', max_length=10)),
                ('salt', models.CharField(max_length=64)),
                ('old_salt', models.CharField(blank=True, max_length=64)),
                ('old_until', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField()),
                ('version', models.BigIntegerField(default=0)),
                ('rejected', models.BigIntegerField(default=0)),
                ('rejected_at', models.DateTimeField(null=True)),
                ('rejected_code', models.CharField(blank=True, max_length=60)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='hooks', to='plans.plan')),
            ],
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('webhook_id', models.CharField(max_length=200)),
                ('body_digest', models.CharField(max_length=64)),
                ('outcome', models.CharField(max_length=10)),
                ('code', models.CharField(blank=True, max_length=60)),
                ('message', models.TextField(blank=True)),
                ('at', models.DateTimeField()),
                ('run', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='delivery', to='runs.run')),
                ('hook', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='triggers.hook')),
            ],
        ),
        migrations.AddConstraint(
            model_name='hook',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{active,deleted,paused}'::text[]))"), name='hook_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='hook',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('old_until'), rhs=False), models.Func(models.F('old_salt'), output_field=models.BooleanField(), template="(%(expressions)s <> '')")), name='hook_old_salt_iff_old_until'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(fields=('hook', 'webhook_id', 'code'), name='delivery_is_once'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Func(models.F('outcome'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{proposed,refused}'::text[]))"), name='delivery_outcome_is_known'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('run'), rhs=False), models.Func(models.F('outcome'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{proposed}'::text[]))")), name='delivery_run_iff_proposed'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('code'), output_field=models.BooleanField(), template="(%(expressions)s <> '')"), models.Func(models.F('outcome'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{refused}'::text[]))")), name='delivery_code_iff_refused'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]

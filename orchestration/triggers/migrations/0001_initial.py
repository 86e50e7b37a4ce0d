"""Schedules and their firings. Firings are insert-only, and no schedule is deleted."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


FORWARD = """
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON triggers_firing
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_delete BEFORE DELETE ON triggers_schedule
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON triggers_firing
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON triggers_schedule
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
BACKWARD = """
DROP TRIGGER insert_only ON triggers_firing;
DROP TRIGGER no_delete ON triggers_schedule;
DROP TRIGGER no_truncate ON triggers_firing;
DROP TRIGGER no_truncate ON triggers_schedule;
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('audit', '0002_append_only'),
        ('plans', '0003_saved_plans'),
        ('runs', '0018_conditions'),
    ]

    operations = [
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100)),
                ('revision', models.PositiveIntegerField(null=True)),
                ('inputs', models.JSONField()),
                ('cron', models.CharField(max_length=100)),
                ('zone', models.CharField(max_length=64)),
                ('catch_up', models.CharField(max_length=10)),
                ('overlap', models.CharField(max_length=10)),
                ('owner', models.CharField(max_length=60)),
                ('owner_name', models.CharField(max_length=150)),
                ('state', models.CharField(default='active', max_length=10)),
                ('reason', models.TextField(blank=True)),
                ('refusals', models.PositiveSmallIntegerField(default=0)),
                ('next_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField()),
                ('version', models.BigIntegerField(default=0)),
                ('tries', models.PositiveSmallIntegerField(default=0)),
                ('retry_at', models.DateTimeField(null=True)),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='schedules', to='plans.plan')),
            ],
        ),
        migrations.CreateModel(
            name='Firing',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('due_at', models.DateTimeField()),
                ('last_due_at', models.DateTimeField()),
                ('count', models.PositiveIntegerField(default=1)),
                ('outcome', models.CharField(max_length=10)),
                ('code', models.CharField(blank=True, max_length=60)),
                ('message', models.TextField(blank=True)),
                ('at', models.DateTimeField()),
                ('run', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='firing', to='runs.run')),
                ('schedule', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='firings', to='triggers.schedule')),
            ],
        ),
        migrations.AddIndex(
            model_name='schedule',
            index=models.Index(condition=models.Q(('next_at__isnull', False)), fields=['next_at'], name='schedule_due'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{active,deleted,paused}'::text[]))"), name='schedule_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('next_at'), rhs=False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{active}'::text[]))")), name='schedule_next_at_iff_active'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('catch_up'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{all,one,skip}'::text[]))"), models.Func(models.F('overlap'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{allow,skip,wait}'::text[]))")), name='schedule_policies_are_known'),
        ),
        migrations.AddConstraint(
            model_name='schedule',
            constraint=models.CheckConstraint(condition=models.Q(('refusals__lte', 5)), name='schedule_refusals_are_bounded'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.UniqueConstraint(fields=('schedule', 'due_at'), name='firing_is_once'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.CheckConstraint(condition=models.Func(models.F('outcome'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{proposed,refused,skipped}'::text[]))"), name='firing_outcome_is_known'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('run'), rhs=False), models.Func(models.F('outcome'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{proposed}'::text[]))")), name='firing_run_iff_proposed'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('code'), output_field=models.BooleanField(), template="(%(expressions)s <> '')"), models.Func(models.F('outcome'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{refused,skipped}'::text[]))")), name='firing_code_iff_no_run'),
        ),
        migrations.AddConstraint(
            model_name='firing',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('count', 1), ('last_due_at', models.F('due_at'))), models.Q(('count__gt', 1), ('last_due_at__gt', models.F('due_at')), ('outcome', 'skipped')), _connector='OR'), name='firing_only_skips_have_a_range'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]

"""Concurrency keys: queues of runs and steps that share a key."""

from importlib import import_module

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

# Frozen, like this file.
before = import_module("orchestration.runs.migrations.0025_service_levels")
columns = before.columns
STEP_COLUMNS = f"{before.STEP_COLUMNS}, concurrency_key, admitted_at"
RUN_COLUMNS = f"{before.RUN_COLUMNS}, admitted_at"
COMMIT = before.COMMIT
for old, new in (
    (before.STEP_COLUMNS, STEP_COLUMNS),
    (before.RUN_COLUMNS, RUN_COLUMNS),
):
    COMMIT = COMMIT.replace(f"SET ({old})", f"SET ({new})")
    COMMIT = COMMIT.replace(columns._of("new", old), columns._of("new", new))

# In the database, so that nothing that ends a run or step can forget it. The fallback of
# a step takes a place of its own. A run whose outcome is unknown keeps its place.
LEAVE = """
CREATE FUNCTION runs_steprun_leaves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM runs_concurrencyplace WHERE step_run_id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER leave_place AFTER UPDATE OF state ON runs_steprun FOR EACH ROW
  WHEN (NEW.concurrency_key <> '' AND NEW.state = ANY ('{cancelled,failed,falling_back,rejected,skipped,skipped_by_condition,succeeded}'::text[]))
  EXECUTE FUNCTION runs_steprun_leaves();

CREATE FUNCTION runs_run_leaves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ended uuid := CASE TG_TABLE_NAME WHEN 'runs_run' THEN NEW.id ELSE (to_jsonb(NEW) ->> 'run_id')::uuid END;
BEGIN
  DELETE FROM runs_concurrencyplace AS place USING runs_run AS run
  WHERE run.id = ended AND place.run_id = ended AND place.step_run_id IS NULL
    AND run.state = ANY ('{cancelled,expired,failed,partially_succeeded,rejected,succeeded}'::text[])
    AND NOT EXISTS (SELECT FROM runs_steprun AS step
      WHERE step.run_id = ended AND step.state = 'indeterminate');
  RETURN NULL;
END $$;
CREATE TRIGGER leave_place AFTER UPDATE OF state ON runs_run FOR EACH ROW
  WHEN (NEW.concurrency_key <> '' AND NEW.finished_at IS NOT NULL)
  EXECUTE FUNCTION runs_run_leaves();
CREATE TRIGGER leave_place_of_run AFTER UPDATE OF state ON runs_steprun FOR EACH ROW
  WHEN (OLD.state = 'indeterminate' AND NEW.state <> 'indeterminate')
  EXECUTE FUNCTION runs_run_leaves();
"""
STAY = """
DROP TRIGGER leave_place_of_run ON runs_steprun;
DROP TRIGGER leave_place ON runs_run;
DROP FUNCTION runs_run_leaves();
DROP TRIGGER leave_place ON runs_steprun;
DROP FUNCTION runs_steprun_leaves();
"""


class Migration(migrations.Migration):
    """Replaces the function; a worker of before would not store admissions."""

    dependencies = [
        ('runs', '0025_service_levels'),
    ]

    operations = [
        migrations.CreateModel(
            name='ConcurrencyPlace',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('key', models.CharField(max_length=200)),
                ('limit', models.PositiveIntegerField()),
                ('entered_at', models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='run_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_state_is_known',
        ),
        migrations.AddField(
            model_name='run',
            name='admitted_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='concurrency_key',
            field=models.CharField(blank=True, db_default='', default='', max_length=200),
        ),
        migrations.AddField(
            model_name='steprun',
            name='admitted_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='steprun',
            name='concurrency_key',
            field=models.CharField(blank=True, db_default='', default='', max_length=200),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{awaiting_approval,cancelled,cancelling,expired,failed,partially_succeeded,paused,pausing,queued,rejected,running,succeeded}'::text[]))"), name='run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('admitted_at__isnull', False), _negated=True), models.Q(('concurrency_key', ''), _negated=True), _connector='OR'), name='run_admitted_with_key'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{running}'::text[]))"), _negated=True), ('concurrency_key', ''), ('admitted_at__isnull', False), _connector='OR'), name='run_proceeds_if_admitted'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'queued'), _negated=True), models.Q(models.Q(('concurrency_key', ''), _negated=True), models.Q(('admitted_at__isnull', False), _negated=True)), _connector='OR'), name='run_queued_for_key'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,cancelled,expanded,failed,falling_back,gated,indeterminate,pending,queued,ready,rejected,running,skipped,skipped_by_condition,succeeded,waiting}'::text[]))"), name='step_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('admitted_at__isnull', False), _negated=True), models.Q(('concurrency_key', ''), _negated=True), _connector='OR'), name='step_run_admitted_with_key'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,gated,ready,running}'::text[]))"), _negated=True), ('concurrency_key', ''), ('admitted_at__isnull', False), _connector='OR'), name='step_run_proceeds_if_admitted'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'queued'), _negated=True), models.Q(models.Q(('concurrency_key', ''), _negated=True), models.Q(('admitted_at__isnull', False), _negated=True)), _connector='OR'), name='step_run_queued_for_key'),
        ),
        migrations.AddField(
            model_name='concurrencyplace',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='places', to='runs.run'),
        ),
        migrations.AddField(
            model_name='concurrencyplace',
            name='step_run',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, to='runs.steprun'),
        ),
        migrations.AddIndex(
            model_name='concurrencyplace',
            index=models.Index(fields=['key', 'id'], name='concurrency_queue'),
        ),
        migrations.AddConstraint(
            model_name='concurrencyplace',
            constraint=models.UniqueConstraint(fields=('run', 'step_run'), name='concurrency_place_is_one', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='concurrencyplace',
            constraint=models.CheckConstraint(condition=models.Q(('limit__gte', 1)), name='concurrency_place_limit'),
        ),
        migrations.AddConstraint(
            model_name='concurrencyplace',
            constraint=models.CheckConstraint(condition=models.Q(('key', ''), _negated=True), name='concurrency_place_has_key'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
        migrations.RunSQL(LEAVE, STAY),
    ]

"""Rollback: undo steps, the states that they lead to, and the failures of a run."""

from importlib import import_module

import django.db.models.lookups
from django.db import migrations, models

# Frozen, like this file.
before = import_module("orchestration.runs.migrations.0026_concurrency")
columns = before.columns
RUN_COLUMNS = f"{before.RUN_COLUMNS}, failures"
COMMIT = before.COMMIT.replace(f"SET ({before.RUN_COLUMNS})", f"SET ({RUN_COLUMNS})")
COMMIT = COMMIT.replace(
    columns._of("new", before.RUN_COLUMNS), columns._of("new", RUN_COLUMNS)
)
LEAVE = before.LEAVE[before.LEAVE.index("CREATE FUNCTION runs_run_leaves") :]
LEAVE = LEAVE.split("CREATE TRIGGER")[0].replace("CREATE", "CREATE OR REPLACE")
ENDED = LEAVE.replace("rejected,", "rejected,rollback_failed,rolled_back,")


class Migration(migrations.Migration):
    """Replaces the functions; a worker of before would not count failures."""

    dependencies = [
        ('plans', '0003_saved_plans'),
        ("runs", "0029_artifact_versions"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='run',
            name='run_finished_at_iff_final',
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='run_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_finished_at_iff_final',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_used_fallback_to_succeed',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_state_is_known',
        ),
        migrations.AddField(
            model_name='run',
            name='failures',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='rollback_after',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{awaiting_approval,cancelled,cancelling,expired,failed,partially_succeeded,paused,pausing,queued,rejected,rollback_failed,rolled_back,rolling_back,running,succeeded}'::text[]))"), name='run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('finished_at'), rhs=False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{cancelled,expired,failed,partially_succeeded,rejected,rollback_failed,rolled_back,succeeded}'::text[]))")), name='run_finished_at_iff_final'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,cancelled,compensated,compensation_failed,expanded,failed,falling_back,gated,indeterminate,pending,queued,ready,rejected,running,skipped,skipped_by_condition,succeeded,waiting}'::text[]))"), name='step_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('finished_at'), rhs=False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{cancelled,compensated,compensation_failed,failed,rejected,skipped,skipped_by_condition,succeeded}'::text[]))")), name='step_run_finished_at_iff_final'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(('used_fallback', False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{compensated,compensation_failed,succeeded}'::text[]))"), _connector='OR'), name='step_run_used_fallback_to_succeed'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
        migrations.RunSQL(ENDED, LEAVE),
    ]

"""Conditions of steps, and the state of a step that a condition has skipped."""

from importlib import import_module

import django.db.models.lookups
from django.db import migrations, models

# Frozen, like this file.
columns = import_module("orchestration.runs.migrations.0011_commit")
before = import_module("orchestration.runs.migrations.0014_commit_in_fewer_statements")

STEP_COLUMNS = f"{columns.STEP_COLUMNS}, condition"
COMMIT = before.COMMIT.replace(
    f"SET ({columns.STEP_COLUMNS})", f"SET ({STEP_COLUMNS})"
).replace(
    columns._of("new", columns.STEP_COLUMNS), columns._of("new", STEP_COLUMNS)
)


class Migration(migrations.Migration):
    """Replaces the function; a worker of before would not store conditions."""

    dependencies = [
        ('runs', '0017_uploads'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_finished_at_iff_final',
        ),
        migrations.AddField(
            model_name='steprun',
            name='condition',
            field=models.JSONField(null=True),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,cancelled,failed,gated,indeterminate,pending,ready,rejected,running,skipped,skipped_by_condition,succeeded}'::text[]))"), name='step_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('finished_at'), rhs=False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{cancelled,failed,rejected,skipped,skipped_by_condition,succeeded}'::text[]))")), name='step_run_finished_at_iff_final'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('condition'), output_field=models.BooleanField(), template="coalesce(%(expressions)s ->> 'result' = 'false', false)"), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{skipped_by_condition}'::text[]))")), name='step_run_false_iff_left_out'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('condition'), output_field=models.BooleanField(), template="(%(expressions)s -> 'then' IS NOT NULL)"), models.Func(models.F('kind'), models.F('state'), arg_joiner=" || ' ' || ", output_field=models.BooleanField(), template="(%(expressions)s = 'choose succeeded')")), name='step_run_rule_iff_chosen'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
    ]

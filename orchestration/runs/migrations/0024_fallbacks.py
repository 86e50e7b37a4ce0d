"""Fallbacks: the state of a step whose fallback runs, and whether its output is from it."""

from importlib import import_module

from django.db import migrations, models

# Frozen, like this file.
before = import_module("orchestration.runs.migrations.0018_conditions")
STEP_COLUMNS = f"{before.STEP_COLUMNS}, used_fallback"
COMMIT = before.COMMIT.replace(
    f"SET ({before.STEP_COLUMNS})", f"SET ({STEP_COLUMNS})"
).replace(
    before.columns._of("new", before.STEP_COLUMNS),
    before.columns._of("new", STEP_COLUMNS),
)


class Migration(migrations.Migration):
    """Replaces the function; a worker of before would not store `used_fallback`."""

    dependencies = [
        ('runs', '0023_events'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_state_is_known',
        ),
        migrations.AddField(
            model_name='steprun',
            name='used_fallback',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,cancelled,expanded,failed,falling_back,gated,indeterminate,pending,ready,rejected,running,skipped,skipped_by_condition,succeeded,waiting}'::text[]))"), name='step_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(('used_fallback', False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{succeeded}'::text[]))"), _connector='OR'), name='step_run_used_fallback_to_succeed'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
    ]

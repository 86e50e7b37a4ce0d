"""Probes: when a step's target is asked if it happened, and what the answer was."""

from importlib import import_module

from django.db import migrations, models

# Frozen, like this file.
before = import_module("orchestration.runs.migrations.0037_edits")
steps = import_module("orchestration.runs.migrations.0032_reruns")
columns = steps.columns
STEP_COLUMNS = f"{steps.STEP_COLUMNS}, probe_at, probe_record"
COMMIT = before.COMMIT.replace(
    f"SET ({steps.STEP_COLUMNS})", f"SET ({STEP_COLUMNS})"
).replace(
    columns._of("new", steps.STEP_COLUMNS), columns._of("new", STEP_COLUMNS)
)


class Migration(migrations.Migration):
    """Replaces the function; a worker of before would not store probes."""

    dependencies = [
        ("runs", "0037_edits"),
    ]

    operations = [
        migrations.AddField("steprun", "probe_at", models.DateTimeField(null=True)),
        migrations.AddField("steprun", "probe_record", models.JSONField(null=True)),
        migrations.AddIndex(
            model_name='steprun',
            index=models.Index(condition=models.Q(('probe_at__isnull', False)), fields=['probe_at'], name='step_run_probes'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(('probe_at__isnull', True), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{indeterminate}'::text[]))"), _connector='OR'), name='step_run_probed_only_if_unknown'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
    ]

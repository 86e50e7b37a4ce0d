"""Service levels: when a run or a step has to have ended, and the breach of it."""

from importlib import import_module

from django.db import migrations, models

# Frozen, like this file.
before = import_module("orchestration.runs.migrations.0024_fallbacks")
columns = before.before.columns
OWN = "due_at, breached_at"
STEP_COLUMNS = f"{before.STEP_COLUMNS}, {OWN}"
RUN_COLUMNS = f"{columns.RUN_COLUMNS}, {OWN}"
LEASE = """lease_until = CASE WHEN steps -> step.id::text ->> 'state' = 'running'
        THEN clock_timestamp() + lease_s * interval '1 s' END"""
# A change that moves no step, such as a breach, leaves its lease alone.
KEPT = LEASE.replace(
    "CASE WHEN", "CASE WHEN NOT steps -> step.id::text ? 'state' THEN step.lease_until\n        WHEN"
)
COMMIT = before.COMMIT
for old, new in (
    (before.STEP_COLUMNS, STEP_COLUMNS),
    (columns.RUN_COLUMNS, RUN_COLUMNS),
):
    COMMIT = COMMIT.replace(f"SET ({old})", f"SET ({new})")
    COMMIT = COMMIT.replace(columns._of("new", old), columns._of("new", new))
COMMIT = COMMIT.replace(LEASE, KEPT)


class Migration(migrations.Migration):
    """Replaces the function; a worker of before would not store due times."""

    dependencies = [
        ('runs', '0024_fallbacks'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='breached_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='due_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='steprun',
            name='breached_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='steprun',
            name='due_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('breached_at__isnull', True), ('due_at__isnull', False), ('finished_at__isnull', True)), fields=['due_at'], name='run_due'),
        ),
        migrations.AddIndex(
            model_name='steprun',
            index=models.Index(condition=models.Q(('breached_at__isnull', True), ('due_at__isnull', False), ('finished_at__isnull', True)), fields=['due_at'], name='step_run_due'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('breached_at__isnull', False), _negated=True), models.Q(('breached_at__gt', models.F('due_at')), ('due_at__isnull', False)), _connector='OR'), name='run_breach_is_after_due'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('due_at__isnull', True), ('finished_at__isnull', True), ('finished_at__lte', models.F('due_at')), ('breached_at__isnull', False), _connector='OR'), name='run_ended_late_is_breach'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('breached_at__isnull', False), _negated=True), models.Q(('breached_at__gt', models.F('due_at')), ('due_at__isnull', False)), _connector='OR'), name='step_run_breach_is_after_due'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(('due_at__isnull', True), ('finished_at__isnull', True), ('finished_at__lte', models.F('due_at')), ('breached_at__isnull', False), _connector='OR'), name='step_run_ended_late_is_breach'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
    ]

"""Edits: a run changes its revision, and has a dry run of each."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

# Frozen, like this file.
runs = import_module("orchestration.runs.migrations.0030_rollback")
before = import_module("orchestration.runs.migrations.0032_reruns")
RUN_COLUMNS = f"{runs.RUN_COLUMNS}, revision_id, gate_before"
COMMIT = before.COMMIT.replace(
    f"SET ({runs.RUN_COLUMNS})", f"SET ({RUN_COLUMNS})"
).replace(runs.columns._of("new", runs.RUN_COLUMNS), runs.columns._of("new", RUN_COLUMNS))


class Migration(migrations.Migration):
    """Replaces the function; a worker of before would not store a revision."""

    dependencies = [
        ('plans', '0004_edited_revisions'),
        ('runs', '0036_attempt_times'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='gate_before',
            field=models.UUIDField(null=True),
        ),
        migrations.AlterField(
            model_name='dryrun',
            name='run',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='dry_runs', to='runs.run'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('gate_before', None), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{awaiting_approval}'::text[]))"), _connector='OR'), name='run_edit_waits_for_approval'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
    ]

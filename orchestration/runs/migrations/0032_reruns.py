"""Reruns: the run that a run repeats, and the steps whose results its steps have."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

# Frozen, like this file.
before = import_module("orchestration.runs.migrations.0030_rollback")
columns = before.columns
_STEP_COLUMNS = before.before.STEP_COLUMNS
STEP_COLUMNS = f"{_STEP_COLUMNS}, reused_from_id"
COMMIT = before.COMMIT.replace(
    f"SET ({_STEP_COLUMNS})", f"SET ({STEP_COLUMNS})"
).replace(
    columns._of("new", _STEP_COLUMNS), columns._of("new", STEP_COLUMNS)
)


class Migration(migrations.Migration):
    """Replaces the function; a worker of before would not store `reused_from`."""

    dependencies = [
        ('plans', '0003_saved_plans'),
        ("runs", "0031_aborting_runs"),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='rerun_of',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reruns', to='runs.run'),
        ),
        migrations.AddField(
            model_name='run',
            name='rerun_from',
            field=models.CharField(blank=True, db_default='', default='', max_length=1000),
        ),
        migrations.AddField(
            model_name='steprun',
            name='reused_from',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='runs.steprun'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('rerun_of__isnull', False)), fields=['rerun_of', 'id'], name='run_by_original'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('rerun_of__isnull', False), models.Q(('rerun_of', models.F('id')), _negated=True)), models.Q(('rerun_from', ''), ('rerun_of', None)), _connector='OR'), name='run_rerun_is_of_another'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.UniqueConstraint(condition=models.Q(('reused_from__isnull', False)), fields=('run', 'reused_from'), name='step_run_result_is_reused_once'),
        ),
        migrations.RunSQL(COMMIT, before.COMMIT),
    ]

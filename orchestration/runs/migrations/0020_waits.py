"""The state of a step that waits for a time."""

import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0018_conditions'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_state_is_known',
        ),
        migrations.RemoveIndex(
            model_name='steprun',
            name='step_run_waiting_for_worker',
        ),
        migrations.AddIndex(
            model_name='steprun',
            index=models.Index(condition=models.Q(('state__in', ['ready', 'backoff', 'waiting'])), fields=['not_before', 'id'], name='step_run_waiting_for_worker'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,cancelled,failed,gated,indeterminate,pending,ready,rejected,running,skipped,skipped_by_condition,succeeded,waiting}'::text[]))"), name='step_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('kind'), models.F('not_before'), arg_joiner=" = 'wait' AND ", output_field=models.BooleanField(), template='(%(expressions)s IS NOT NULL)'), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{waiting}'::text[]))")), name='step_run_wait_iff_waiting'),
        ),
    ]

"""Items of lists: their values, and the state of a step whose items are running."""

import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0020_waits'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_state_is_known',
        ),
        migrations.AddField(
            model_name='steprun',
            name='item_value',
            field=models.JSONField(null=True),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,cancelled,expanded,failed,gated,indeterminate,pending,ready,rejected,running,skipped,skipped_by_condition,succeeded,waiting}'::text[]))"), name='step_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('item'), rhs=False), django.db.models.lookups.IsNull(models.F('item_value'), rhs=False)), name='step_run_item_iff_value'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(('item__isnull', True), models.Q(('item__gte', 0), ('parent__isnull', False)), _connector='OR'), name='step_run_item_has_parent'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('kind'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{for_each,plan}'::text[]))"), models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{expanded}'::text[]))"), _negated=True), _connector='OR'), name='step_run_expanded_is_container'),
        ),
    ]

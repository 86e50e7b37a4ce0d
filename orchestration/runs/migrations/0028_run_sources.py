"""Where a run came from: the trace of its caller, and the template it was made from."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0003_saved_plans'),
        ('runs', '0027_leave_by_index'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='parent_trace_id',
            field=models.CharField(blank=True, db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='run',
            name='template',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='plans.planrevision'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(fields=['trace_id'], name='run_by_trace'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('parent_trace_id', ''), _negated=True), fields=['parent_trace_id'], name='run_by_parent_trace'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('parent_trace_id', ''), models.Q(('parent_trace_id__regex', '^[0-9a-f]{32}$'), models.Q(('parent_trace_id', models.F('trace_id')), _negated=True)), _connector='OR'), name='run_parent_trace_is_another'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('template', None), models.Q(('template', models.F('revision')), _negated=True), _connector='OR'), name='run_template_is_another'),
        ),
    ]

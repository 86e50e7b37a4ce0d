"""Revisions that were edited in a run: they are not saved ones."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0003_saved_plans'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='planrevision',
            name='plan_revision_number_is_unique',
        ),
        migrations.RemoveConstraint(
            model_name='planrevision',
            name='plan_revision_content_is_unique',
        ),
        migrations.AddField(
            model_name='planrevision',
            name='edit_reason',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='planrevision',
            name='edited_in',
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name='planrevision',
            name='edited_step',
            field=models.CharField(blank=True, db_default='', default='', max_length=100),
        ),
        migrations.AddField(
            model_name='planrevision',
            name='parent',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='edits', to='plans.planrevision'),
        ),
        migrations.AddIndex(
            model_name='planrevision',
            index=models.Index(condition=models.Q(('parent__isnull', False)), fields=['parent', 'edited_in'], name='plan_revision_edits'),
        ),
        migrations.AddConstraint(
            model_name='planrevision',
            constraint=models.UniqueConstraint(condition=models.Q(('number', 0), _negated=True), fields=('plan', 'number'), name='plan_revision_number_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='planrevision',
            constraint=models.UniqueConstraint(condition=models.Q(('number', 0), _negated=True), fields=('plan', 'digest'), name='plan_revision_content_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='planrevision',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('edited_in', None), ('edited_step', ''), ('parent', None), models.Q(('number', 0), _negated=True)), models.Q(('edited_in__isnull', False), ('number', 0), ('parent__isnull', False), models.Q(('edited_step', ''), _negated=True)), _connector='OR'), name='plan_revision_edit_is_whole'),
        ),
    ]

"""Indexes that another one already covers, or that nobody asks, are dropped."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0002_immutable_specs'),
    ]

    operations = [
        migrations.AlterField(
            model_name='attempt',
            name='spec',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='runs.execspec'),
        ),
        migrations.AlterField(
            model_name='attempt',
            name='step_run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='attempts', to='runs.steprun'),
        ),
        migrations.AlterField(
            model_name='steprun',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='steps', to='runs.run'),
        ),
        migrations.AlterField(
            model_name='steprun',
            name='spec',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='runs.execspec'),
        ),
    ]

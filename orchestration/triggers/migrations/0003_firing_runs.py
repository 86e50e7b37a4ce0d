"""An index of the firings that proposed a run."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('triggers', '0002_hooks'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='firing',
            index=models.Index(condition=models.Q(('run__isnull', False)), fields=['schedule', '-due_at'], name='firing_runs'),
        ),
    ]

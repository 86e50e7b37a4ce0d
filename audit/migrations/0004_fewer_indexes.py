"""Drop indexes that another one covers, or that no query uses."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0003_require_hits'),
    ]

    operations = [
        migrations.AlterField(
            model_name='event',
            name='stream',
            field=models.ForeignKey(db_column='stream', db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='audit.stream'),
        ),
    ]

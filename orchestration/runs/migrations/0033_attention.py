"""Who takes care of what needs a person."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("runs", "0032_reruns"),
    ]

    operations = [
        migrations.CreateModel(
            name='AttentionClaim',
            fields=[
                ('key', models.CharField(max_length=100, primary_key=True, serialize=False)),
                ('owner', models.CharField(max_length=60)),
                ('owner_name', models.CharField(max_length=150)),
                ('taken_at', models.DateTimeField()),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='runs.run')),
            ],
        ),
    ]

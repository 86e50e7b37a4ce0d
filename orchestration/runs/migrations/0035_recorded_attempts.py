"""The time of an attempt by the clock of the database; existing rows get that of now."""


import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("runs", "0034_stops"),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='recorded_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
    ]

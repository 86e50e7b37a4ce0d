"""Where a piece of a log lies in lines, so that a gap can be counted in lines too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0005_refuse_truncate")]

    operations = [
        migrations.AddField(
            model_name="logchunk",
            name="line",
            field=models.BigIntegerField(null=True),
        ),
    ]

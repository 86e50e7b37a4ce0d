"""The verification job belongs to an app of its own; its table stays as it is."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0012_shorter_checks'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.DeleteModel(name='VerificationJob')],
        ),
    ]

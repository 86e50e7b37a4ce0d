"""Find the place of a step that ends by its index."""

from importlib import import_module

from django.db import migrations

# Frozen, like this file.
LEAVE = import_module("orchestration.runs.migrations.0026_concurrency").LEAVE
BEFORE = LEAVE.split("CREATE TRIGGER")[0].replace("CREATE", "CREATE OR REPLACE")
AFTER = BEFORE.replace("WHERE step_run_id", "WHERE run_id = NEW.run_id AND step_run_id")


class Migration(migrations.Migration):
    """Replaces a function; workers of before can go on."""

    dependencies = [
        ('runs', '0026_concurrency'),
    ]

    operations = [migrations.RunSQL(AFTER, BEFORE)]

"""A gate that asks for values is settled by one answer, of any of its groups."""

from importlib import import_module

from django.db import migrations

# Frozen, like this file.
before = import_module("approvals.migrations.0003_approval_needs_decisions")

ADDED = before.GATE.partition("CREATE TRIGGER")[0].replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
COUNTED = "AS one;\n"
FUNCTION = ADDED.replace(
    COUNTED,
    f"""{COUNTED}    IF NEW.subject_kind = 'input' THEN
        seats := least(seats, 1);
    END IF;
""",
)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0004_shorter_checks")]

    operations = [migrations.RunSQL(FUNCTION, ADDED)]

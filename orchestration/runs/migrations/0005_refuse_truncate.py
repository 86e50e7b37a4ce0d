"""Not even the owner empties a table of the record or one that is insert-only.

`manage.py flush` is refused by this. Tests drop the triggers in their own database.
"""

from django.db import migrations

TABLES = (
    "audit_event",
    "audit_stream",
    "approvals_gate",
    "approvals_decision",
    "approvals_policy",
    "plans_planrevision",
    "runs_execspec",
    "skills_skillversion",
)
FORWARD = "".join(
    f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
    for table in TABLES
)
BACKWARD = "".join(f"DROP TRIGGER no_truncate ON {table};\n" for table in TABLES)


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0004_verification_job"),
        ("audit", "0002_append_only"),
        ("approvals", "0002_append_only"),
        ("plans", "0002_immutable_revisions"),
        ("skills", "0002_immutable_versions"),
    ]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

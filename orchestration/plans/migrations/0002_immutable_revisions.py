"""Revisions are insert-only; their digest is that of their bytes."""

from django.db import migrations

FORWARD = """
ALTER TABLE plans_planrevision ADD CONSTRAINT plan_revision_digest_is_of_body
  CHECK (digest = encode(sha256(convert_to('execfabric/plan/v1', 'UTF8') || '\\x0a'::bytea || body), 'hex'));
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON plans_planrevision
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

BACKWARD = """
DROP TRIGGER insert_only ON plans_planrevision;
ALTER TABLE plans_planrevision DROP CONSTRAINT plan_revision_digest_is_of_body;
"""


class Migration(migrations.Migration):
    dependencies = [("plans", "0001_initial"), ("audit", "0002_append_only")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

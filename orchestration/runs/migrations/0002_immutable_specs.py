"""The bytes of an action are insert-only; their digest is theirs."""

from django.db import migrations

FORWARD = """
ALTER TABLE runs_execspec ADD CONSTRAINT exec_spec_digest_is_of_body
  CHECK (digest = encode(sha256(convert_to('execfabric/action/v1', 'UTF8') || '\\x0a'::bytea || body), 'hex'));
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON runs_execspec
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

BACKWARD = """
DROP TRIGGER insert_only ON runs_execspec;
ALTER TABLE runs_execspec DROP CONSTRAINT exec_spec_digest_is_of_body;
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial"), ("audit", "0002_append_only")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""Call the trigger of the head only for changes that it refuses."""

from django.db import migrations

FORWARD = """
CREATE OR REPLACE TRIGGER forward_only BEFORE UPDATE ON audit_stream FOR EACH ROW
  WHEN (NEW.last_seq <= OLD.last_seq OR NEW.key <> OLD.key)
  EXECUTE FUNCTION audit_stream_forward();
CREATE TRIGGER not_deleted BEFORE DELETE ON audit_stream
  FOR EACH ROW EXECUTE FUNCTION audit_stream_forward();
"""
BACKWARD = """
DROP TRIGGER not_deleted ON audit_stream;
CREATE OR REPLACE TRIGGER forward_only BEFORE UPDATE OR DELETE ON audit_stream
  FOR EACH ROW EXECUTE FUNCTION audit_stream_forward();
"""


class Migration(migrations.Migration):
    """Change when the trigger runs, not what it refuses."""

    dependencies = [("audit", "0007_place_is_key")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

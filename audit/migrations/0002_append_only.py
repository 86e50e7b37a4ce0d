"""Make events insert-only; the head of a stream only moves forward."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are insert-only', TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON audit_event
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION audit_stream_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR NEW.last_seq <= OLD.last_seq OR NEW.key <> OLD.key THEN
    RAISE EXCEPTION 'the head of stream % only moves forward', OLD.key
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER forward_only BEFORE UPDATE OR DELETE ON audit_stream
  FOR EACH ROW EXECUTE FUNCTION audit_stream_forward();
"""

BACKWARD = """
DROP TRIGGER forward_only ON audit_stream;
DROP FUNCTION audit_stream_forward();
DROP TRIGGER insert_only ON audit_event;
DROP FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

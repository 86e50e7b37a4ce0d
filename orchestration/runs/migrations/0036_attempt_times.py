"""Refuse to change when an attempt was recorded: its deadline follows from it."""

from django.db import migrations

FORWARD = """
CREATE TRIGGER fixed_time BEFORE UPDATE ON runs_attempt
  FOR EACH ROW WHEN (OLD.recorded_at IS DISTINCT FROM NEW.recorded_at)
  EXECUTE FUNCTION refuse_change();
"""
BACKWARD = "DROP TRIGGER fixed_time ON runs_attempt;"


class Migration(migrations.Migration):

    dependencies = [
        ("audit", "0002_append_only"),
        ("runs", "0035_recorded_attempts"),
    ]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""Add a function that refuses a change as a whole."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION require_hits(first int, hits bigint[], wanted bigint[]) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  FOR place IN 1 .. cardinality(wanted) LOOP
    IF wanted[place] >= 0 AND hits[place] <> wanted[place] THEN
      RAISE EXCEPTION 'statement % changed % rows, not %',
        place, hits[place], wanted[place]
        USING ERRCODE = 'XF001', DETAIL = (first + place - 1)::text;
    END IF;
  END LOOP;
  RETURN pg_current_xact_id()::xid::text;
END $$;
"""
BACKWARD = "DROP FUNCTION require_hits(int, bigint[], bigint[]);"


class Migration(migrations.Migration):
    """Compare the number of changed rows with the expected one."""

    dependencies = [("audit", "0002_append_only")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

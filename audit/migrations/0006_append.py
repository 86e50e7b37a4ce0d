"""Add a function that appends events if the head of the stream is unchanged."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION audit_append(
  stream_key text, seen_seq bigint, seen_head bytea, new_head bytea,
  at timestamptz, actor text, actor_name text, trace_id text, events jsonb
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  UPDATE audit_stream SET last_seq = seen_seq + jsonb_array_length(events), head = new_head
  WHERE key = stream_key AND last_seq = seen_seq AND head = seen_head;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO audit_event
    (stream, seq, kind, at, actor, actor_name, trace_id, step, body, hash)
  SELECT stream_key, fact.seq, fact.kind, audit_append.at, audit_append.actor,
    audit_append.actor_name, audit_append.trace_id, fact.step,
    convert_to(fact.body, 'UTF8'), decode(fact.hash, 'hex')
  FROM jsonb_to_recordset(events)
    AS fact (seq bigint, kind text, step text, body text, hash text);
  RETURN true;
END $$;
"""
BACKWARD = """
DROP FUNCTION audit_append(
  text, bigint, bytea, bytea, timestamptz, text, text, text, jsonb);
"""


class Migration(migrations.Migration):
    """Add the function; `require_hits` stays for processes of the last release."""

    dependencies = [("audit", "0005_verified_order")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

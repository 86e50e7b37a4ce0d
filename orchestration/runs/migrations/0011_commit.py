"""One statement writes a change of a run, and refuses it if the run is another by now.

The head of a run's stream is the run's version: every legal change appends an event.
What no event covers raises a counter: `runs_run.version` for writes by hand to a run,
its steps or its gates; `runs_outside` for skills, policies and people.
"""

from django.db import migrations

# Columns of a step run that a change may set. Its lease is set by the server's clock.
STEP_COLUMNS = (
    "state, generation, fence, worker, tries, not_before, hinted_at, spec_id, gate_id,"
    " output, output_digest, files, error, started_at, finished_at, seq, completed_seq,"
    " reuse_digest"
)
ATTEMPT_COLUMNS = (
    "step_run_id, fence, generation, worker, phase, spec_id, session_id, started_at,"
    " intent_at, ended_at, result"
)
RUN_COLUMNS = "state, reason, gate_id, started_at, finished_at, seq"


def _of(record: str, columns: str) -> str:
    return ", ".join(f"{record}.{name.strip()}" for name in columns.split(","))


COMMIT = f"""
CREATE FUNCTION runs_commit(
  run uuid, stream_key text, seen_seq bigint, seen_head bytea, new_head bytea,
  seen_version bigint, seen_outside bigint,
  at timestamptz, actor text, actor_name text, trace_id text,
  events jsonb, change jsonb, lease_s double precision
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  one jsonb;
  found_version bigint;
BEGIN
  IF NOT audit_append(stream_key, seen_seq, seen_head, new_head,
      at, actor, actor_name, trace_id, events) THEN
    RETURN NULL;
  END IF;
  IF seen_version IS NOT NULL THEN
    -- Only now: the swapped head is a lock, and each statement sees what is committed.
    SELECT target.version INTO found_version FROM runs_run AS target WHERE target.id = run;
    IF found_version IS DISTINCT FROM seen_version
        OR (SELECT value FROM runs_outside) IS DISTINCT FROM seen_outside THEN
      RAISE EXCEPTION 'run % is not as it was read', run USING ERRCODE = 'XF002';
    END IF;
  END IF;
  INSERT INTO runs_execspec (digest, body)
  SELECT spec.digest, convert_to(spec.body, 'UTF8')
  FROM jsonb_to_recordset(change -> 'specs') AS spec (digest text, body text)
  ON CONFLICT DO NOTHING;
  INSERT INTO runs_steprun
  SELECT new.* FROM jsonb_populate_recordset(NULL::runs_steprun, change -> 'born') AS new;
  FOR one IN SELECT value FROM jsonb_array_elements(change -> 'ended') LOOP
    UPDATE runs_attempt AS attempt
    SET (phase, ended_at, result) = (
      SELECT new.phase, new.ended_at, new.result
      FROM jsonb_populate_record(attempt, one) AS new
    )
    WHERE attempt.step_run_id = (one ->> 'step_run_id')::uuid
      AND attempt.fence = (one ->> 'fence')::bigint AND attempt.ended_at IS NULL;
    CONTINUE WHEN FOUND;
    RAISE EXCEPTION 'the attempt is not live' USING ERRCODE = 'XF001', DETAIL = 'live attempt';
  END LOOP;
  FOR one IN SELECT value FROM jsonb_array_elements(change -> 'steps') LOOP
    UPDATE runs_steprun AS step
    SET ({STEP_COLUMNS}) = (
        SELECT {_of("new", STEP_COLUMNS)} FROM jsonb_populate_record(step, one) AS new
      ),
      lease_until = CASE WHEN one ->> 'state' = 'running'
        THEN clock_timestamp() + lease_s * interval '1 s' END
    WHERE step.id = (one ->> 'id')::uuid
      AND step.state = one ->> 'was' AND step.fence = (one ->> 'held')::bigint;
    CONTINUE WHEN FOUND;
    RAISE EXCEPTION 'the step run is in another state'
      USING ERRCODE = 'XF001', DETAIL = one ->> 'was';
  END LOOP;
  INSERT INTO runs_attempt ({ATTEMPT_COLUMNS})
  SELECT {_of("new", ATTEMPT_COLUMNS)}
  FROM jsonb_populate_recordset(NULL::runs_attempt, change -> 'attempts') AS new;
  FOR one IN SELECT value FROM jsonb_array_elements(change -> 'run') LOOP
    UPDATE runs_run AS target
    SET ({RUN_COLUMNS}) = (
      SELECT {_of("new", RUN_COLUMNS)} FROM jsonb_populate_record(target, one) AS new
    )
    WHERE target.id = run AND target.state = one ->> 'was';
    CONTINUE WHEN FOUND;
    RAISE EXCEPTION 'the run is in another state'
      USING ERRCODE = 'XF001', DETAIL = one ->> 'was';
  END LOOP;
  RETURN coalesce(found_version,
    (SELECT target.version FROM runs_run AS target WHERE target.id = run));
END $$;
"""
NO_COMMIT = """
DROP FUNCTION runs_commit(uuid, text, bigint, bytea, bytea, bigint, bigint,
  timestamptz, text, text, text, jsonb, jsonb, double precision);
"""

# A change sets `seq` in each row that it writes; a write by hand does not.
BY_HAND = """
CREATE FUNCTION runs_run_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.version := OLD.version + 1;
  RETURN NEW;
END $$;
CREATE TRIGGER by_hand BEFORE UPDATE ON runs_run FOR EACH ROW
  WHEN (OLD.seq = NEW.seq AND OLD.version = NEW.version)
  EXECUTE FUNCTION runs_run_by_hand();

CREATE FUNCTION runs_steprun_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Heartbeats and hints change nothing that a change of the run depends on.
  IF TG_OP = 'DELETE' OR to_jsonb(OLD) - '{lease_until,hinted_at}'::text[]
      IS DISTINCT FROM to_jsonb(NEW) - '{lease_until,hinted_at}'::text[] THEN
    UPDATE runs_run SET version = version + 1 WHERE id = OLD.run_id;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER by_hand AFTER UPDATE ON runs_steprun FOR EACH ROW
  WHEN (OLD.seq = NEW.seq) EXECUTE FUNCTION runs_steprun_by_hand();
CREATE TRIGGER deleted AFTER DELETE ON runs_steprun FOR EACH ROW
  EXECUTE FUNCTION runs_steprun_by_hand();

CREATE FUNCTION runs_gate_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE runs_run SET version = version + 1 WHERE id = OLD.context_id;
  RETURN NULL;
END $$;
CREATE TRIGGER raise_version AFTER UPDATE ON approvals_gate FOR EACH ROW
  EXECUTE FUNCTION runs_gate_changed();
"""
NOT_BY_HAND = """
DROP TRIGGER raise_version ON approvals_gate;
DROP FUNCTION runs_gate_changed();
DROP TRIGGER deleted ON runs_steprun;
DROP TRIGGER by_hand ON runs_steprun;
DROP FUNCTION runs_steprun_by_hand();
DROP TRIGGER by_hand ON runs_run;
DROP FUNCTION runs_run_by_hand();
"""

OUTSIDE = {
    "skills_skill": "INSERT OR UPDATE OR DELETE",
    "skills_skillversion": "INSERT OR UPDATE OR DELETE",
    "approvals_policy": "INSERT OR UPDATE OR DELETE",
    "accounts_user": "UPDATE OF is_active, username OR DELETE",
    "accounts_user_groups": "INSERT OR UPDATE OR DELETE",
    "accounts_agent": "UPDATE OR DELETE",
    "auth_group": "UPDATE OR DELETE",
}
COUNT_OUTSIDE = """
CREATE FUNCTION runs_outside_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO runs_outside (id, value) VALUES (1, 1)
  ON CONFLICT (id) DO UPDATE SET value = runs_outside.value + 1;
  RETURN NULL;
END $$;
""" + "".join(
    f"CREATE TRIGGER raise_outside AFTER {events} ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION runs_outside_changed();\n"
    for table, events in OUTSIDE.items()
)
NOT_OUTSIDE = (
    "".join(f"DROP TRIGGER raise_outside ON {table};\n" for table in OUTSIDE)
    + "DROP FUNCTION runs_outside_changed();"
)


class Migration(migrations.Migration):
    """Adds the functions and the triggers that count what no event covers."""

    dependencies = [
        ("runs", "0010_step_instances"),
        ("audit", "0006_append"),
        ("approvals", "0003_approval_needs_decisions"),
        ("accounts", "0002_password_links"),
        ("skills", "0004_editors_of_a_draft"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.RunSQL(COMMIT, NO_COMMIT),
        migrations.RunSQL(BY_HAND, NOT_BY_HAND),
        migrations.RunSQL(COUNT_OUTSIDE, NOT_OUTSIDE),
    ]

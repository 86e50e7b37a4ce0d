"""The same commit in fewer statements: one for all steps, none for what is not there."""

from importlib import import_module

from django.db import migrations

# Frozen, like this file: what a change may set has not changed since.
before = import_module("orchestration.runs.migrations.0011_commit")

COMMIT = f"""
CREATE OR REPLACE FUNCTION runs_commit(
  run uuid, stream_key text, seen_seq bigint, seen_head bytea, new_head bytea,
  seen_version bigint, seen_outside bigint,
  at timestamptz, actor text, actor_name text, trace_id text,
  events jsonb, change jsonb, lease_s double precision
) RETURNS bigint LANGUAGE plpgsql
-- Else the server plans the update of the steps at each call, which costs a tenth. A
-- plan that is kept must not read a table whole because it was small at first.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
  one jsonb;
  steps jsonb := change -> 'steps';
  step_ids uuid[];
  found_version bigint;
  written bigint;
BEGIN
  IF NOT audit_append(stream_key, seen_seq, seen_head, new_head,
      at, actor, actor_name, trace_id, events) THEN
    RETURN NULL;
  END IF;
  -- Only now: the swapped head is a lock, and each statement sees what is committed.
  SELECT target.version INTO found_version FROM runs_run AS target WHERE target.id = run;
  IF seen_version IS NOT NULL AND (found_version IS DISTINCT FROM seen_version
      OR (SELECT value FROM runs_outside WHERE id = 1) IS DISTINCT FROM seen_outside) THEN
    RAISE EXCEPTION 'run % is not as it was read', run USING ERRCODE = 'XF002';
  END IF;
  IF change ? 'specs' THEN
    INSERT INTO runs_execspec (digest, body)
    SELECT spec.digest, convert_to(spec.body, 'UTF8')
    FROM jsonb_to_recordset(change -> 'specs') AS spec (digest text, body text)
    ON CONFLICT DO NOTHING;
  END IF;
  IF change ? 'born' THEN
    INSERT INTO runs_steprun
    SELECT new.* FROM jsonb_populate_recordset(NULL::runs_steprun, change -> 'born') AS new;
  END IF;
  IF change ? 'ended' THEN
    FOR one IN SELECT value FROM jsonb_array_elements(change -> 'ended') LOOP
      UPDATE runs_attempt AS attempt
      SET phase = one ->> 'phase', ended_at = (one ->> 'ended_at')::timestamptz,
        result = nullif(one -> 'result', 'null')
      WHERE attempt.step_run_id = (one ->> 'step_run_id')::uuid
        AND attempt.fence = (one ->> 'fence')::bigint AND attempt.ended_at IS NULL;
      CONTINUE WHEN FOUND;
      RAISE EXCEPTION 'the attempt is not live' USING ERRCODE = 'XF001', DETAIL = 'live attempt';
    END LOOP;
  END IF;
  IF steps IS NOT NULL THEN
    step_ids := ARRAY(SELECT jsonb_object_keys(steps)::uuid);
    UPDATE runs_steprun AS step
    SET ({before.STEP_COLUMNS}) = (
        SELECT {before._of("new", before.STEP_COLUMNS)}
        FROM jsonb_populate_record(step, steps -> step.id::text) AS new
      ),
      lease_until = CASE WHEN steps -> step.id::text ->> 'state' = 'running'
        THEN clock_timestamp() + lease_s * interval '1 s' END
    WHERE step.id = ANY (step_ids)
      AND step.state = steps -> step.id::text ->> 'was'
      AND step.fence = (steps -> step.id::text ->> 'held')::bigint;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> cardinality(step_ids) THEN
      RAISE EXCEPTION 'a step run is in another state'
        USING ERRCODE = 'XF001', DETAIL = 'step run';
    END IF;
  END IF;
  IF change ? 'attempts' THEN
    INSERT INTO runs_attempt ({before.ATTEMPT_COLUMNS})
    SELECT {before._of("new", before.ATTEMPT_COLUMNS)}
    FROM jsonb_populate_recordset(NULL::runs_attempt, change -> 'attempts') AS new;
  END IF;
  IF change ? 'run' THEN
    UPDATE runs_run AS target
    SET ({before.RUN_COLUMNS}) = (
      SELECT {before._of("new", before.RUN_COLUMNS)}
      FROM jsonb_populate_record(target, change -> 'run') AS new
    )
    WHERE target.id = run AND target.state = change -> 'run' ->> 'was'
    RETURNING target.version INTO found_version;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'the run is in another state'
        USING ERRCODE = 'XF001', DETAIL = change -> 'run' ->> 'was';
    END IF;
  END IF;
  RETURN found_version;
END $$;
"""


class Migration(migrations.Migration):
    """Replaces the function. It takes another form of `change`: no worker of before may run."""

    dependencies = [("runs", "0013_verification_moves")]

    operations = [
        migrations.RunSQL(
            COMMIT, before.COMMIT.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        )
    ]

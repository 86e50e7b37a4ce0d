"""The database refuses a gate that is settled without the decisions for it.

Whether the voters were entitled is for the service to say. The trigger holds what rows
alone can tell: a gate opens unanswered, is settled by decisions on its content, and a
decision belongs to an open gate, its content and its time.
"""

from django.db import migrations

GATE = """
CREATE FUNCTION approvals_gate_needs_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seats bigint;
    approvals bigint;
    rejections bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'requested' THEN
            RAISE EXCEPTION 'a gate opens with the status requested, not %', NEW.status
                USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NULL;
    END IF;
    SELECT coalesce(sum((one ->> 'count')::bigint), 0) INTO seats
        FROM jsonb_array_elements(NEW.requirements) AS one;
    SELECT count(*) FILTER (WHERE approve), count(*) FILTER (WHERE NOT approve)
        INTO approvals, rejections
        FROM approvals_decision WHERE gate_id = NEW.id AND digest = NEW.digest;
    IF (NEW.status = 'approved' AND approvals < greatest(seats, 1))
        OR (NEW.status = 'partial' AND approvals < 1)
        OR (NEW.status = 'rejected' AND rejections < 1)
    THEN
        RAISE EXCEPTION 'a gate cannot become % without the decisions for it', NEW.status
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER approvals_gate_opens_unanswered AFTER INSERT ON approvals_gate
    FOR EACH ROW EXECUTE FUNCTION approvals_gate_needs_decisions();
CREATE TRIGGER approvals_gate_needs_decisions AFTER UPDATE ON approvals_gate
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION approvals_gate_needs_decisions();
"""

NO_GATE = """
DROP TRIGGER approvals_gate_needs_decisions ON approvals_gate;
DROP TRIGGER approvals_gate_opens_unanswered ON approvals_gate;
DROP FUNCTION approvals_gate_needs_decisions();
"""

DECISION = """
CREATE FUNCTION approvals_decision_fits_its_gate() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    gate approvals_gate%ROWTYPE;
BEGIN
    SELECT * INTO gate FROM approvals_gate WHERE id = NEW.gate_id;
    IF gate.status NOT IN ('requested', 'partial') THEN
        RAISE EXCEPTION 'a gate that is % takes no decision', gate.status
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.digest <> gate.digest THEN
        RAISE EXCEPTION 'a decision names the digest of its gate'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.at < gate.requested_at OR NEW.at >= gate.expires_at THEN
        RAISE EXCEPTION 'a decision is made while its gate is open'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF gate.excluded @> jsonb_build_array(jsonb_build_object('key', NEW.voter_key)) THEN
        RAISE EXCEPTION 'the gate excludes this voter'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER approvals_decision_fits_its_gate AFTER INSERT ON approvals_decision
    FOR EACH ROW EXECUTE FUNCTION approvals_decision_fits_its_gate();
"""

NO_DECISION = """
DROP TRIGGER approvals_decision_fits_its_gate ON approvals_decision;
DROP FUNCTION approvals_decision_fits_its_gate();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0002_append_only")]

    operations = [
        migrations.RunSQL(GATE, NO_GATE),
        migrations.RunSQL(DECISION, NO_DECISION),
    ]

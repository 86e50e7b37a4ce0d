"""What was asked and answered cannot be rewritten, not even by SQL.

No TRUNCATE trigger: the test runner's flush needs TRUNCATE; the application's role
is not granted it.
"""

from django.db import migrations

GATE_DIGEST = """
ALTER TABLE approvals_gate ADD CONSTRAINT gate_digest_is_of_its_subject CHECK (
    digest = sha256(convert_to(digest_domain, 'UTF8') || '\\x0a'::bytea || subject)
);
ALTER TABLE approvals_gate ADD CONSTRAINT gate_asks_somebody CHECK (
    CASE WHEN jsonb_typeof(requirements) = 'array'
        THEN jsonb_array_length(requirements) > 0 ELSE false END
);
ALTER TABLE approvals_policy ADD CONSTRAINT policy_asks_somebody CHECK (
    CASE WHEN jsonb_typeof(requirements) = 'array'
        THEN jsonb_array_length(requirements) > 0 ELSE false END
);
"""

NO_GATE_DIGEST = """
ALTER TABLE approvals_gate DROP CONSTRAINT gate_digest_is_of_its_subject;
ALTER TABLE approvals_gate DROP CONSTRAINT gate_asks_somebody;
ALTER TABLE approvals_policy DROP CONSTRAINT policy_asks_somebody;
"""

# The rows are compared whole, with the movable columns made equal first, so a column
# that is added later is protected from the start.
GATE = """
CREATE FUNCTION approvals_gate_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fixed approvals_gate%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a gate is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    fixed := NEW;
    fixed.status := OLD.status;
    fixed.settled_at := OLD.settled_at;
    fixed.settled_reason := OLD.settled_reason;
    IF fixed IS DISTINCT FROM OLD THEN
        RAISE EXCEPTION 'what a gate asks never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
        ('requested', 'partial'),
        ('requested', 'approved'),
        ('requested', 'rejected'),
        ('requested', 'expired'),
        ('requested', 'superseded'),
        ('partial', 'approved'),
        ('partial', 'rejected'),
        ('partial', 'expired'),
        ('partial', 'superseded'),
        ('approved', 'superseded')
    ) THEN
        RAISE EXCEPTION 'a gate that is % cannot become %', OLD.status, NEW.status
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.status = OLD.status AND (NEW.settled_at, NEW.settled_reason)
        IS DISTINCT FROM (OLD.settled_at, OLD.settled_reason)
    THEN
        RAISE EXCEPTION 'when and why a gate was settled never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_gate_guard BEFORE UPDATE OR DELETE ON approvals_gate
    FOR EACH ROW EXECUTE FUNCTION approvals_gate_guard();
"""

NO_GATE = """
DROP TRIGGER approvals_gate_guard ON approvals_gate;
DROP FUNCTION approvals_gate_guard();
"""

DECISION = """
CREATE FUNCTION insert_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a decision is never changed or deleted'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON approvals_decision
    FOR EACH ROW EXECUTE FUNCTION insert_only();
"""

NO_DECISION = """
DROP TRIGGER insert_only ON approvals_decision;
DROP FUNCTION insert_only();
"""

POLICY = """
CREATE FUNCTION approvals_policy_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fixed approvals_policy%ROWTYPE;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a policy version is never deleted'
            USING ERRCODE = 'restrict_violation';
    END IF;
    fixed := NEW;
    fixed.retired_at := OLD.retired_at;
    IF fixed IS DISTINCT FROM OLD OR OLD.retired_at IS NOT NULL THEN
        RAISE EXCEPTION 'a policy version never changes; it can only be retired, once'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approvals_policy_guard BEFORE UPDATE OR DELETE ON approvals_policy
    FOR EACH ROW EXECUTE FUNCTION approvals_policy_guard();
"""

NO_POLICY = """
DROP TRIGGER approvals_policy_guard ON approvals_policy;
DROP FUNCTION approvals_policy_guard();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial")]

    operations = [
        migrations.RunSQL(GATE_DIGEST, NO_GATE_DIGEST),
        migrations.RunSQL(GATE, NO_GATE),
        migrations.RunSQL(DECISION, NO_DECISION),
        migrations.RunSQL(POLICY, NO_POLICY),
    ]

"""A published version never changes; its digest is that of its bytes."""

from django.db import migrations

FORWARD = """
ALTER TABLE skills_skillversion ADD CONSTRAINT skill_version_digest_is_of_body
  CHECK (digest = encode(sha256(convert_to('execfabric/skill/v1', 'UTF8') || '\\x0a'::bytea || body), 'hex'));

CREATE FUNCTION skill_version_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state <> 'draft' AND (
    TG_OP = 'DELETE' OR NEW.body <> OLD.body OR NEW.digest <> OLD.digest
    OR NEW.version <> OLD.version OR NEW.skill_id <> OLD.skill_id OR NEW.state = 'draft'
  ) THEN
    RAISE EXCEPTION 'a published skill version never changes'
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER published_is_immutable BEFORE UPDATE OR DELETE ON skills_skillversion
  FOR EACH ROW EXECUTE FUNCTION skill_version_immutable();
"""

BACKWARD = """
DROP TRIGGER published_is_immutable ON skills_skillversion;
DROP FUNCTION skill_version_immutable();
ALTER TABLE skills_skillversion DROP CONSTRAINT skill_version_digest_is_of_body;
"""


class Migration(migrations.Migration):
    dependencies = [("skills", "0001_initial"), ("audit", "0002_append_only")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

"""Everyone who edited a draft is stored, and fixed with the version."""

from django.db import migrations, models

# The rows are compared whole, so a column that is added later is protected too.
FORWARD = """
CREATE OR REPLACE FUNCTION skill_version_immutable() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
  fixed skills_skillversion%ROWTYPE;
BEGIN
  IF OLD.state = 'draft' THEN
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.state <> 'draft' THEN
    fixed := NEW;
    fixed.state := OLD.state;
    IF fixed IS NOT DISTINCT FROM OLD THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION 'a published skill version never changes'
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
"""

BACKWARD = """
CREATE OR REPLACE FUNCTION skill_version_immutable() RETURNS trigger
LANGUAGE plpgsql AS $$
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
"""


class Migration(migrations.Migration):
    dependencies = [("skills", "0003_shipped")]

    operations = [
        migrations.AddField(
            model_name="skillversion",
            name="edited_by",
            field=models.JSONField(default=list),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]

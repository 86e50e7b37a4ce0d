"""Stops of the dispatch, and the trigger that refuses the attempts that they cover."""

import django.db.models.lookups
from django.db import migrations, models

FIXED = "id, skill, reason, cancels, set_by, set_by_name, set_at"


def _of(record):
    return ", ".join(f"{record}.{name.strip()}" for name in FIXED.split(","))


FORWARD = f"""
CREATE TRIGGER no_delete BEFORE DELETE ON runs_stop
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON runs_stop
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE ON runs_stop
  FOR EACH ROW WHEN (({_of("OLD")}) IS DISTINCT FROM ({_of("NEW")}) OR OLD.lifted_at IS NOT NULL)
  EXECUTE FUNCTION refuse_change();

-- Of an attempt and a stop that are written at once, one is first: an attempt shares this
-- lock until its commit, a stop has it alone. It is the last lock of an attempt's change
-- before its own rows, so that no deadlock is possible.
CREATE FUNCTION runs_stop_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('stops', 0));
  RETURN NULL;
END $$;
CREATE TRIGGER alone BEFORE INSERT ON runs_stop
  FOR EACH STATEMENT EXECUTE FUNCTION runs_stop_set();

CREATE FUNCTION runs_attempt_dispatched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('stops', 0));
  -- Only now: each statement sees what is committed.
  IF EXISTS (SELECT FROM runs_stop AS stop WHERE stop.lifted_at IS NULL AND stop.skill IN ('', (
      SELECT convert_from(spec.body, 'UTF8')::jsonb -> 'skill' ->> 'slug'
      FROM runs_execspec AS spec WHERE spec.digest = NEW.spec_id))) THEN
    RAISE EXCEPTION 'the dispatch is stopped' USING ERRCODE = 'XF003';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER dispatched BEFORE INSERT ON runs_attempt
  FOR EACH ROW EXECUTE FUNCTION runs_attempt_dispatched();

CREATE TRIGGER raise_outside AFTER INSERT OR UPDATE OR DELETE ON runs_stop
  FOR EACH STATEMENT EXECUTE FUNCTION runs_outside_changed();
"""
BACKWARD = """
DROP TRIGGER dispatched ON runs_attempt;
DROP FUNCTION runs_attempt_dispatched();
DROP TRIGGER raise_outside ON runs_stop;
DROP TRIGGER alone ON runs_stop;
DROP FUNCTION runs_stop_set();
DROP TRIGGER fixed_columns ON runs_stop;
DROP TRIGGER no_truncate ON runs_stop;
DROP TRIGGER no_delete ON runs_stop;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0002_append_only'),
        ("runs", "0033_attention"),
    ]

    operations = [
        migrations.CreateModel(
            name='Stop',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('skill', models.CharField(blank=True, max_length=64)),
                ('reason', models.TextField()),
                ('cancels', models.BooleanField(default=False)),
                ('set_by', models.CharField(max_length=60)),
                ('set_by_name', models.CharField(max_length=150)),
                ('set_at', models.DateTimeField()),
                ('lifted_by', models.CharField(blank=True, max_length=60)),
                ('lifted_by_name', models.CharField(blank=True, max_length=150)),
                ('lifted_at', models.DateTimeField(null=True)),
                ('lift_reason', models.TextField(blank=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('lifted_at__isnull', True)), fields=['skill'], name='stop_active')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Func(models.F('reason'), output_field=models.BooleanField(), template="(%(expressions)s <> '')"), models.Func(models.F('set_by'), output_field=models.BooleanField(), template="(%(expressions)s <> '')")), name='stop_has_reason_and_person'), models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('lifted_at'), rhs=False), models.Func(models.F('lifted_by'), output_field=models.BooleanField(), template="(%(expressions)s <> '')")), name='stop_lifted_by_iff_lifted'), models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('lifted_at'), rhs=False), models.Func(models.F('lift_reason'), output_field=models.BooleanField(), template="(%(expressions)s <> '')")), name='stop_lift_reason_iff_lifted')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]

"""Create the index that allows one live attempt per step run again.

Migration 0003 dropped the index of the foreign key and this one with it, since both
begin with the same column. It is in the state of the models, so only SQL is needed.
"""

from django.db import migrations

FORWARD = """
CREATE UNIQUE INDEX IF NOT EXISTS attempt_one_live_per_step_run
  ON runs_attempt (step_run_id) WHERE phase IN ('claimed', 'intent');
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0007_dry_runs")]
    # Backwards it stays: migration 0003 was meant to leave it.
    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]

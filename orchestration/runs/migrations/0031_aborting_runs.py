"""Runs that a user aborts wait for their running steps."""

from django.db import migrations, models

STATES = (
    "aborting,awaiting_approval,cancelled,cancelling,expired,failed,"
    "partially_succeeded,paused,pausing,queued,rejected,rollback_failed,rolled_back,"
    "rolling_back,running,succeeded"
)


class Migration(migrations.Migration):
    dependencies = [("runs", "0030_rollback")]

    operations = [
        migrations.RemoveConstraint(model_name="run", name="run_state_is_known"),
        migrations.RemoveIndex(model_name="run", name="run_waiting_to_stop"),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["id"],
                name="run_waiting_to_stop",
                condition=models.Q(state__in=["aborting", "cancelling", "pausing"]),
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                name="run_state_is_known",
                condition=models.Func(
                    models.F("state"),
                    output_field=models.BooleanField(),
                    template=f"(%(expressions)s = ANY ('{{{STATES}}}'::text[]))",
                ),
            ),
        ),
    ]

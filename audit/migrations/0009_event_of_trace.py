"""Find the events of artifacts by trace, of which their streams have many."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Index more events by their trace."""

    dependencies = [("audit", "0008_forward_only_when")]

    operations = [
        migrations.RemoveIndex(model_name="event", name="event_first_of_trace"),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(
                    ("seq", 1), ("kind__startswith", "artifact."), _connector="OR"
                ),
                fields=["trace_id"],
                name="event_of_trace",
            ),
        ),
    ]

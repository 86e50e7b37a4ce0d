"""Events from outside, and the waits that they end; all three tables are insert-only."""

import django.db.models.deletion
from django.db import migrations, models

TABLES = ("runs_externalevent", "runs_eventwait", "runs_eventmatch")
FORWARD = "".join(
    f"CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION refuse_change();\n"
    f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
    for table in TABLES
)
BACKWARD = "".join(
    f"DROP TRIGGER insert_only ON {table};\nDROP TRIGGER no_truncate ON {table};\n"
    for table in TABLES
)


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0019_items'),
        ('audit', '0002_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='EventWait',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('generation', models.PositiveIntegerField()),
                ('type', models.CharField(max_length=100)),
                ('key', models.CharField(blank=True, max_length=200)),
                ('opened_at', models.DateTimeField()),
                ('step_run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='event_waits', to='runs.steprun')),
            ],
        ),
        migrations.CreateModel(
            name='ExternalEvent',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=100)),
                ('key', models.CharField(blank=True, max_length=200)),
                ('payload', models.JSONField()),
                ('sender', models.CharField(max_length=60)),
                ('sender_name', models.CharField(max_length=150)),
                ('idempotency_key', models.CharField(blank=True, max_length=200)),
                ('request_digest', models.CharField(max_length=64)),
                ('received_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['type', 'key', 'received_at'], name='external_event_by_key')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('idempotency_key', ''), _negated=True), fields=('sender', 'idempotency_key'), name='external_event_sent_once'), models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('received_at'))), name='external_event_expires_later')],
            },
        ),
        migrations.CreateModel(
            name='EventMatch',
            fields=[
                ('wait', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='match', serialize=False, to='runs.eventwait')),
                ('matched_at', models.DateTimeField()),
                ('event', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='matches', to='runs.externalevent')),
            ],
        ),
        migrations.AddIndex(
            model_name='eventwait',
            index=models.Index(fields=['type', 'key'], name='event_wait_by_key'),
        ),
        migrations.AddConstraint(
            model_name='eventwait',
            constraint=models.UniqueConstraint(fields=('step_run', 'generation'), name='event_wait_once'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]

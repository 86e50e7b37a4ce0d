"""The verification job comes from the app `runs`, with its table as it is."""

from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('runs', '0013_verification_moves'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='VerificationJob',
                    fields=[
                        ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                        ('stream', models.CharField(blank=True, max_length=80)),
                        ('state', models.CharField(default='queued', max_length=20)),
                        ('asked_by', models.CharField(max_length=60)),
                        ('asked_by_name', models.CharField(max_length=150)),
                        ('asked_at', models.DateTimeField()),
                        ('hinted_at', models.DateTimeField(null=True)),
                        ('started_at', models.DateTimeField(null=True)),
                        ('finished_at', models.DateTimeField(null=True)),
                        ('lease_until', models.DateTimeField(null=True)),
                        ('fence', models.PositiveIntegerField(default=0)),
                        ('tries', models.PositiveIntegerField(default=0)),
                        ('last', models.CharField(blank=True, max_length=80)),
                        ('total', models.PositiveIntegerField(default=0)),
                        ('done', models.PositiveIntegerField(default=0)),
                        ('events', models.BigIntegerField(default=0)),
                        ('outputs', models.BigIntegerField(default=0)),
                        ('uncovered', models.BigIntegerField(default=0)),
                        ('broken', models.PositiveIntegerField(default=0)),
                        ('findings', models.JSONField(default=list)),
                        ('error', models.TextField(blank=True)),
                    ],
                    options={
                        'db_table': 'runs_verificationjob',
                        'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['failed', 'finished', 'queued', 'running'])), name='verification_state_is_known'), models.CheckConstraint(condition=models.Q(models.Q(('lease_until__isnull', False), ('state', 'running')), models.Q(models.Q(('state', 'running'), _negated=True), ('lease_until__isnull', True)), _connector='OR'), name='verification_lease_iff_running'), models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('state__in', ['failed', 'finished'])), models.Q(models.Q(('state__in', ['failed', 'finished']), _negated=True), ('finished_at__isnull', True)), _connector='OR'), name='verification_finished_at_iff_final'), models.UniqueConstraint(condition=models.Q(('state__in', ['failed', 'finished']), _negated=True), fields=('stream',), name='one_open_verification_per_stream')],
                    },
                ),
            ],
        ),
    ]

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Gate',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('subject_kind', models.CharField(max_length=20)),
                ('subject_id', models.UUIDField()),
                ('context_id', models.UUIDField()),
                ('stream', models.CharField(max_length=80)),
                ('trace_id', models.CharField(blank=True, max_length=32)),
                ('step', models.CharField(blank=True, max_length=100)),
                ('label', models.TextField(blank=True)),
                ('subject', models.BinaryField()),
                ('digest_domain', models.CharField(max_length=60)),
                ('digest', models.BinaryField(max_length=32)),
                ('status', models.CharField(default='requested', max_length=20)),
                ('requirements', models.JSONField()),
                ('excluded', models.JSONField()),
                ('reasons', models.JSONField()),
                ('policy_versions', models.JSONField()),
                ('risk', models.CharField(blank=True, max_length=20)),
                ('rev', models.PositiveIntegerField()),
                ('requested_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('settled_at', models.DateTimeField(null=True)),
                ('settled_reason', models.TextField(blank=True)),
            ],
            options={
                'indexes': [models.Index(fields=['context_id', 'id'], name='gate_by_context'), models.Index(condition=models.Q(('status__in', ['partial', 'requested'])), fields=['expires_at'], name='gate_open_by_expiry'), django.contrib.postgres.indexes.GinIndex(fields=['excluded'], name='gate_by_excluded')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['approved', 'expired', 'partial', 'rejected', 'requested', 'superseded'])), name='gate_status_is_known'), models.CheckConstraint(condition=models.Q(models.Q(('settled_at__isnull', False), ('status__in', ['approved', 'expired', 'rejected', 'superseded'])), models.Q(models.Q(('status__in', ['approved', 'expired', 'rejected', 'superseded']), _negated=True), ('settled_at__isnull', True)), _connector='OR'), name='gate_settled_at_iff_settled'), models.CheckConstraint(condition=models.Q(models.Q(('status__in', ['approved', 'expired', 'rejected', 'superseded']), models.Q(('settled_reason', ''), _negated=True)), models.Q(models.Q(('status__in', ['approved', 'expired', 'rejected', 'superseded']), _negated=True), ('settled_reason', '')), _connector='OR'), name='gate_settled_reason_iff_settled'), models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('requested_at'))), name='gate_expires_after_it_was_requested'), models.UniqueConstraint(condition=models.Q(('status__in', ['partial', 'requested'])), fields=('subject_kind', 'subject_id'), name='one_open_gate_per_subject'), models.UniqueConstraint(fields=('subject_kind', 'subject_id', 'rev'), name='gate_rev_counts_per_subject')],
            },
        ),
        migrations.CreateModel(
            name='Policy',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=60)),
                ('version', models.PositiveIntegerField()),
                ('order', models.IntegerField()),
                ('skill', models.CharField(blank=True, max_length=100)),
                ('action', models.CharField(blank=True, max_length=100)),
                ('risk_at_least', models.CharField(blank=True, max_length=20)),
                ('effect_class', models.CharField(blank=True, max_length=20)),
                ('requirements', models.JSONField()),
                ('expires_after_s', models.PositiveIntegerField(null=True)),
                ('reason', models.TextField()),
                ('published_at', models.DateTimeField()),
                ('published_by_key', models.CharField(max_length=60)),
                ('published_by_name', models.CharField(max_length=150)),
                ('retired_at', models.DateTimeField(null=True)),
            ],
            options={
                'verbose_name_plural': 'policies',
                'constraints': [models.UniqueConstraint(fields=('name', 'version'), name='policy_version_is_unique'), models.UniqueConstraint(condition=models.Q(('retired_at__isnull', True)), fields=('name',), name='one_policy_version_in_force'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='policy_has_a_reason'), models.CheckConstraint(condition=models.Q(('expires_after_s__isnull', True), ('expires_after_s__gte', 1), _connector='OR'), name='policy_expiry_is_not_zero'), models.CheckConstraint(condition=models.Q(('retired_at__isnull', True), ('retired_at__gte', models.F('published_at')), _connector='OR'), name='policy_retires_after_it_was_published')],
            },
        ),
        migrations.CreateModel(
            name='Decision',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('approve', models.BooleanField()),
                ('voter_key', models.CharField(max_length=60)),
                ('voter_name', models.CharField(max_length=150)),
                ('groups', models.JSONField()),
                ('digest', models.BinaryField(max_length=32)),
                ('comment', models.TextField(blank=True)),
                ('channel', models.CharField(max_length=20)),
                ('at', models.DateTimeField()),
                ('gate', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to='approvals.gate')),
            ],
            options={
                'indexes': [models.Index(fields=['voter_key', '-at'], name='decision_by_voter')],
                'constraints': [models.UniqueConstraint(fields=('gate', 'voter_key'), name='one_decision_per_voter'), models.CheckConstraint(condition=models.Q(('approve', True), models.Q(('comment', ''), _negated=True), _connector='OR'), name='rejection_has_a_comment'), models.CheckConstraint(condition=models.Q(('voter_key__startswith', 'user:')), name='only_people_decide')],
            },
        ),
    ]

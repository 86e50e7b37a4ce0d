"""Checks that cost less to parse at each write, and fewer indexes on hot tables."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


# Nobody searches for the prefix of a digest.
NO_LIKE = """
DROP INDEX IF EXISTS runs_execspec_digest_1aef0094_like;
DROP INDEX IF EXISTS runs_artifact_sha256_c773c54d_like;
"""
LIKE = """
CREATE INDEX runs_execspec_digest_1aef0094_like
  ON runs_execspec (digest varchar_pattern_ops);
CREATE INDEX runs_artifact_sha256_c773c54d_like
  ON runs_artifact (sha256 varchar_pattern_ops);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0002_immutable_revisions'),
        ('runs', '0011_commit'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='attempt',
            name='attempt_phase_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='attempt',
            name='attempt_ended_at_iff_over',
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='run_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='run',
            name='run_finished_at_iff_final',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_finished_at_iff_final',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_lease_iff_running',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_tries_are_bounded',
        ),
        migrations.RemoveConstraint(
            model_name='steprun',
            name='step_run_at_work_has_spec',
        ),
        migrations.AlterField(
            model_name='artifactuse',
            name='artifact',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='runs.artifact'),
        ),
        migrations.AlterField(
            model_name='logchunk',
            name='step_run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='log', to='runs.steprun'),
        ),
        migrations.AlterField(
            model_name='steprun',
            name='max_attempts',
            field=models.IntegerField(default=1),
        ),
        migrations.AlterField(
            model_name='steprun',
            name='tries',
            field=models.IntegerField(default=0),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.CheckConstraint(condition=models.Func(models.F('phase'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{claimed,done,failed,fenced,intent,lost}'::text[]))"), name='attempt_phase_is_known'),
        ),
        migrations.AddConstraint(
            model_name='attempt',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('ended_at'), False), models.Func(models.F('phase'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{done,failed,fenced,lost}'::text[]))")), name='attempt_ended_at_iff_over'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{awaiting_approval,cancelled,cancelling,expired,failed,partially_succeeded,paused,pausing,rejected,running,succeeded}'::text[]))"), name='run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('finished_at'), False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{cancelled,expired,failed,partially_succeeded,rejected,succeeded}'::text[]))")), name='run_finished_at_iff_final'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{backoff,cancelled,failed,gated,indeterminate,pending,ready,rejected,running,skipped,succeeded}'::text[]))"), name='step_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('finished_at'), False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{cancelled,failed,rejected,skipped,succeeded}'::text[]))")), name='step_run_finished_at_iff_final'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('lease_until'), False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{running}'::text[]))")), name='step_run_lease_iff_running'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(('tries__range', (0, models.F('max_attempts')))), name='step_run_tries_are_bounded'),
        ),
        migrations.AddConstraint(
            model_name='steprun',
            constraint=models.CheckConstraint(condition=models.Q(('spec__isnull', False), models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{ready,running}'::text[]))"), _negated=True), _connector='OR'), name='step_run_at_work_has_spec'),
        ),
        migrations.RunSQL(NO_LIKE, LIKE),
    ]

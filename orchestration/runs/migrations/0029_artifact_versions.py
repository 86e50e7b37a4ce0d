"""Named artifacts: chains of versions beside the content store, and their sources."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models

INSERT_ONLY = ("runs_namedartifact", "runs_artifactsource")
FIXED = (
    "id, artifact_id, file_id, file_name, forked_from_id, step_run_id, fence,"
    " created_by, created_by_name, created_at"
)


def _of(record):
    return ", ".join(f"{record}.{name.strip()}" for name in FIXED.split(","))


FORWARD = (
    "".join(
        f"CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change();\n"
        for table in INSERT_ONLY
    )
    + "".join(
        f"CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();\n"
        for table in (*INSERT_ONLY, "runs_artifactversion")
    )
    + f"""
CREATE TRIGGER no_delete BEFORE DELETE ON runs_artifactversion
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER fixed_columns BEFORE UPDATE ON runs_artifactversion
  FOR EACH ROW WHEN (({_of("OLD")}) IS DISTINCT FROM ({_of("NEW")}))
  EXECUTE FUNCTION refuse_change();

-- No check constraint can see another row.
CREATE FUNCTION runs_artifactversion_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM runs_artifactversion AS before
      WHERE before.id = NEW.supersedes_id AND before.artifact_id = NEW.artifact_id
      AND before.number = NEW.number - 1 AND before.state IN ('superseded', 'archived')) THEN
    RAISE EXCEPTION 'a version must supersede the one before it in its chain'
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER follows AFTER INSERT OR UPDATE OF supersedes_id, number ON runs_artifactversion
  FOR EACH ROW WHEN (NEW.supersedes_id IS NOT NULL)
  EXECUTE FUNCTION runs_artifactversion_follows();
"""
)
BACKWARD = (
    "".join(f"DROP TRIGGER insert_only ON {table};\n" for table in INSERT_ONLY)
    + "".join(
        f"DROP TRIGGER no_truncate ON {table};\n"
        for table in (*INSERT_ONLY, "runs_artifactversion")
    )
    + """
DROP TRIGGER no_delete ON runs_artifactversion;
DROP TRIGGER fixed_columns ON runs_artifactversion;
DROP TRIGGER follows ON runs_artifactversion;
DROP FUNCTION runs_artifactversion_follows();
"""
)


class Migration(migrations.Migration):

    dependencies = [
        ('plans', '0003_saved_plans'),
        ('runs', '0028_run_sources'),
        ('audit', '0002_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='NamedArtifact',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=600)),
                ('created_at', models.DateTimeField()),
                ('plan', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='artifacts', to='plans.plan')),
            ],
        ),
        migrations.CreateModel(
            name='ArtifactVersion',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('file_name', models.CharField(max_length=255)),
                ('state', models.CharField(default='draft', max_length=12)),
                ('number', models.PositiveIntegerField(null=True)),
                ('fence', models.BigIntegerField()),
                ('created_by', models.CharField(max_length=60)),
                ('created_by_name', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField()),
                ('current_at', models.DateTimeField(null=True)),
                ('archived_by', models.CharField(blank=True, max_length=60)),
                ('archived_by_name', models.CharField(blank=True, max_length=150)),
                ('archived_at', models.DateTimeField(null=True)),
                ('archive_reason', models.TextField(blank=True)),
                ('file', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='runs.artifact')),
                ('forked_from', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='forks', to='runs.artifactversion')),
                ('step_run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='artifact_versions', to='runs.steprun')),
                ('supersedes', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='superseded_by', to='runs.artifactversion')),
                ('artifact', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='runs.namedartifact')),
            ],
        ),
        migrations.CreateModel(
            name='ArtifactSource',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('fence', models.BigIntegerField()),
                ('name', models.CharField(max_length=255)),
                ('file', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='sourced', to='runs.artifact')),
                ('source', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='made', to='runs.artifactversion')),
                ('step_run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='artifact_sources', to='runs.steprun')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('step_run', 'fence', 'file'), name='artifact_source_is_unique')],
            },
        ),
        migrations.AddConstraint(
            model_name='namedartifact',
            constraint=models.UniqueConstraint(fields=('plan', 'name'), name='artifact_name_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='namedartifact',
            constraint=models.CheckConstraint(condition=models.Func(models.F('name'), output_field=models.BooleanField(), template="(%(expressions)s <> '')"), name='artifact_has_name'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.UniqueConstraint(fields=('artifact', 'number'), name='artifact_version_number_is_unique'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['current', 'forked'])), fields=('artifact',), name='artifact_has_one_head'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.UniqueConstraint(condition=models.Q(('forked_from', None)), fields=('step_run', 'artifact'), name='artifact_version_once_per_step'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{archived,current,draft,forked,superseded}'::text[]))"), name='artifact_version_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('number'), rhs=False), django.db.models.lookups.IsNull(models.F('current_at'), rhs=False)), name='artifact_version_number_iff_current_at'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{archived}'::text[]))"), django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('number'), rhs=False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{current,forked,superseded}'::text[]))")), _connector='OR'), name='artifact_version_number_iff_not_draft'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('number__gt', 1), ('number__isnull', False), ('supersedes__isnull', False)), models.Q(('number', None), ('supersedes', None)), models.Q(('number', 1), ('number__isnull', False), ('supersedes', None)), _connector='OR'), name='artifact_version_supersedes_iff_later'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Q(('supersedes', None), models.Q(('supersedes', models.F('id')), _negated=True), _connector='OR'), name='artifact_version_supersedes_another'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Q(('forked_from', None), models.Q(('number', 1), ('number__isnull', False), ('supersedes', None)), _connector='OR'), name='artifact_version_fork_is_first'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Q(('forked_from__isnull', False), models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{forked}'::text[]))"), _negated=True), _connector='OR'), name='artifact_version_forked_has_origin'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Q(('forked_from', None), models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{current,draft}'::text[]))"), _negated=True), _connector='OR'), name='artifact_version_fork_is_not_current'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('archived_at'), rhs=False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{archived}'::text[]))")), name='artifact_version_archived_at_iff_archived'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('archived_by'), output_field=models.BooleanField(), template="(%(expressions)s <> '')"), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{archived}'::text[]))")), name='artifact_version_archived_by_iff_archived'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('archive_reason'), output_field=models.BooleanField(), template="(%(expressions)s <> '')"), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{archived}'::text[]))")), name='artifact_version_archive_reason_iff_archived'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]

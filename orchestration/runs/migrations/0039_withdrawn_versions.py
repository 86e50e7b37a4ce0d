"""Withdraw the versions of artifacts whose steps were undone."""

from importlib import import_module

import django.db.models.lookups
from django.db import migrations, models

# Frozen, like this file.
BEFORE = import_module("orchestration.runs.migrations.0029_artifact_versions").FORWARD
BEFORE = BEFORE[BEFORE.index("CREATE FUNCTION") : BEFORE.index("CREATE TRIGGER follows")]
BEFORE = BEFORE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
AFTER = BEFORE.replace("('superseded', 'archived')", "('superseded', 'archived', 'withdrawn')")


class Migration(migrations.Migration):
    """Workers of before can go on; they do not withdraw."""

    dependencies = [
        ("runs", "0038_probes"),
    ]

    operations = [
        migrations.RunSQL(AFTER, BEFORE),
        migrations.RemoveConstraint(
            model_name='artifactversion',
            name='artifact_version_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='artifactversion',
            name='artifact_version_number_iff_not_draft',
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{archived,current,draft,forked,superseded,withdrawn}'::text[]))"), name='artifact_version_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='artifactversion',
            constraint=models.CheckConstraint(condition=models.Q(models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{archived,withdrawn}'::text[]))"), django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('number'), rhs=False), models.Func(models.F('state'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{current,forked,superseded}'::text[]))")), _connector='OR'), name='artifact_version_number_iff_not_draft'),
        ),
    ]

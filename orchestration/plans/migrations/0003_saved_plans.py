"""Rights on plans, and the name of each revision.

The owner of a plan is the author of its first revision, or the user who owns the agent
that wrote it. That revision never changes, so existing plans have an owner without a new
column. Other authors of existing plans get no rights: the owner or an admin grants them.
"""

import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models

# Immutable, unlike `convert_from`: the encoding of the text is always the same.
FORWARD = """
CREATE FUNCTION plans_name(body bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN coalesce(convert_from(body, 'UTF8')::jsonb ->> 'name', '');
EXCEPTION WHEN OTHERS THEN
  RETURN '';  -- a body that was tampered with, which verification finds
END $$;
"""
BACKWARD = "DROP FUNCTION plans_name;"


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('plans', '0002_immutable_revisions'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='plan',
            options={'permissions': [('start_plan', 'Can start runs of the plan'), ('edit_plan', 'Can add revisions to the plan')]},
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.AddField(
            model_name='planrevision',
            name='name',
            field=models.GeneratedField(db_persist=True, expression=django.db.models.expressions.RawSQL('plans_name(body)', []), output_field=models.TextField()),
        ),
        migrations.CreateModel(
            name='PlanGroupPermission',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('content_object', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='plans.plan')),
                ('group', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='auth.group')),
                ('permission', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='auth.permission')),
            ],
            options={
                'abstract': False,
                'unique_together': {('group', 'permission', 'content_object')},
            },
        ),
        migrations.CreateModel(
            name='PlanUserPermission',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('content_object', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='plans.plan')),
                ('permission', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='auth.permission')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
                'unique_together': {('user', 'permission', 'content_object')},
            },
        ),
    ]

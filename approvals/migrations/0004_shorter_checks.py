"""Checks that cost less to parse at each write, and an index less."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0003_approval_needs_decisions'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='gate',
            name='gate_status_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='gate',
            name='gate_settled_at_iff_settled',
        ),
        migrations.RemoveConstraint(
            model_name='gate',
            name='gate_settled_reason_iff_settled',
        ),
        migrations.AlterField(
            model_name='decision',
            name='gate',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='decisions', to='approvals.gate'),
        ),
        migrations.AddConstraint(
            model_name='gate',
            constraint=models.CheckConstraint(condition=models.Func(models.F('status'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{approved,expired,partial,rejected,requested,superseded}'::text[]))"), name='gate_status_is_known'),
        ),
        migrations.AddConstraint(
            model_name='gate',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(django.db.models.lookups.IsNull(models.F('settled_at'), rhs=False), models.Func(models.F('status'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{approved,expired,rejected,superseded}'::text[]))")), name='gate_settled_at_iff_settled'),
        ),
        migrations.AddConstraint(
            model_name='gate',
            constraint=models.CheckConstraint(condition=django.db.models.lookups.Exact(models.Func(models.F('settled_reason'), output_field=models.BooleanField(), template="(%(expressions)s <> '')"), models.Func(models.F('status'), output_field=models.BooleanField(), template="(%(expressions)s = ANY ('{approved,expired,rejected,superseded}'::text[]))")), name='gate_settled_reason_iff_settled'),
        ),
    ]

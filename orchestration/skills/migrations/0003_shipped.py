"""Each version notes the shipped contract that it is based on.

Until now this was not stored. What set-up published was the shipped contract, unless it
was the contract published before with another number, bound to new code.
"""

import json

from django.db import migrations, models

SETUP = "system:setup"


def _without_number(contract):
    return {key: value for key, value in contract.items() if key != "version"}


def fill(apps, schema_editor):
    Skill = apps.get_model("skills", "Skill")
    for skill in Skill.objects.all():
        shipped = before = None
        versions = skill.versions.order_by("id")
        for version in sorted(versions, key=lambda v: v.published_at or v.created_at):
            contract = json.loads(bytes(version.body))["contract"]
            is_published = version.published_at is not None
            if is_published and version.published_by == SETUP:
                content = _without_number(contract)
                if before is None or content != _without_number(before):
                    shipped = contract
            if is_published:
                before = contract
            version.shipped = shipped
            version.save(update_fields=["shipped"])


class Migration(migrations.Migration):
    dependencies = [("skills", "0002_immutable_versions")]
    operations = [
        migrations.AddField(
            model_name="skillversion",
            name="shipped",
            field=models.JSONField(null=True),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]

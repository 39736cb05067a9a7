"""Who has closed the guide of the first steps: at first, everybody who has an account already."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def hide_from_present_accounts(apps, schema_editor):
    users = apps.get_model(settings.AUTH_USER_MODEL).objects.order_by("pk")
    hidden = apps.get_model("projects", "HiddenGuide")
    hidden.objects.bulk_create((hidden(user_id=pk) for pk in users.values_list("pk", flat=True)), batch_size=500)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("projects", "0014_split_changes"),
    ]

    operations = [
        migrations.CreateModel(
            name="HiddenGuide",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.RunPython(hide_from_present_accounts, migrations.RunPython.noop, elidable=True),
    ]

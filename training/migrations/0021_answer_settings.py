"""Answer settings of versions, services, batches and collected calls.

Curves of calibration and coverage are deleted: those of several labels judged an image by its best score, and
those of one label counted a confidence of 0.7 that float32 stores as 0.69999999 below 0.7. They are computed
again from the stored predictions when their page is opened.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def delete_wrong_curves(apps, schema_editor):
    apps.get_model("training", "Curve").objects.filter(kind__in=["calibration", "coverage"]).delete()


def settings_field():
    return models.JSONField(blank=True, default=dict)


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0020_version_evaluations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        *[
            migrations.AddField(model_name=model, name="answer_settings", field=settings_field())
            for model in ("trainingversion", "service", "batch", "collectedcall")
        ],
        migrations.AddField(
            model_name="trainingversion",
            name="answer_settings_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="trainingversion",
            name="answer_settings_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunPython(delete_wrong_curves, migrations.RunPython.noop),
    ]

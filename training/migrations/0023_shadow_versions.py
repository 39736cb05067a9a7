"""Shadow versions: how many images two versions predicted alike, and what they answered."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


def _key(model: str, related_name: str) -> models.ForeignKey:
    return models.ForeignKey(
        on_delete=django.db.models.deletion.CASCADE, related_name=related_name, to=f"training.{model}"
    )


class Migration(migrations.Migration):
    dependencies = [("training", "0022_judged_batches")]
    operations = [
        migrations.AlterField(
            model_name="service",
            name="canary_percent",
            field=models.PositiveSmallIntegerField(
                db_column="trial_percent", default=0, help_text="of the calls, 1–99; 0: a shadow"
            ),
        ),
        migrations.CreateModel(
            name="ShadowAnswer",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("predicted", models.JSONField(default=list)),
                ("score", models.FloatField()),
                ("shadow_predicted", models.JSONField(default=list)),
                ("shadow_score", models.FloatField()),
                ("agrees", models.BooleanField()),
                (
                    "collected",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="shadow_answer",
                        to="training.collectedcall",
                    ),
                ),
                ("service", _key("service", "shadow_answers")),
                ("shadow_version", _key("trainingversion", "+")),
                ("training_version", _key("trainingversion", "+")),
            ],
            options={
                "ordering": ["-at"],
                "indexes": [
                    models.Index(
                        fields=["service", "training_version", "shadow_version", "at"],
                        name="answers_of_a_pair",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ShadowCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("images", models.PositiveBigIntegerField(default=0, help_text="predicted by both")),
                ("agreed", models.PositiveBigIntegerField(default=0)),
                (
                    "skipped",
                    models.PositiveBigIntegerField(
                        default=0, help_text="no time for the second prediction"
                    ),
                ),
                (
                    "failed",
                    models.PositiveBigIntegerField(default=0, help_text="the second prediction failed"),
                ),
                ("first_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("last_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("service", _key("service", "shadow_counts")),
                ("shadow_version", _key("trainingversion", "+")),
                ("training_version", _key("trainingversion", "+")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("service", "training_version", "shadow_version"),
                        name="one_count_for_each_pair",
                    )
                ]
            },
        ),
    ]

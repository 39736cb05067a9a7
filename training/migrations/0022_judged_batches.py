"""Images of answered calls, judged batches, and the spread of measured times."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0021_answer_settings")]
    operations = [
        migrations.AddField(
            model_name="callminute",
            name="images",
            field=models.PositiveIntegerField(default=0, help_text="of the answered calls"),
        ),
        migrations.AddField(
            model_name="batch",
            name="selection",
            field=models.CharField(
                blank=True,
                choices=[
                    ("labeled", "All labeled images"),
                    ("not trained", "Labeled images that the version was not trained on"),
                    ("unlabeled", "Unlabeled images"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="batch", name="judgement", field=models.JSONField(blank=True, default=dict)
        ),
        *[
            migrations.AddField(
                model_name=model,
                name=name,
                field=models.FloatField(blank=True, help_text=help_text, null=True),
            )
            for model in ("candidate", "trainingversion")
            for name, help_text in (
                ("inference_low_ms", "lower quartile of the repetitions"),
                ("inference_high_ms", "upper quartile"),
            )
        ],
    ]

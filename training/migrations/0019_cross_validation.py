"""The cross-validation of a version; intervals of metrics that are no plain rates."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0018_images_used")]
    operations = [
        migrations.AddField(
            model_name="trainingversion",
            name="cross_validation",
            field=models.JSONField(blank=True, default=dict, editable=False),
        ),
        migrations.AlterField(
            model_name="metric",
            name="high",
            field=models.FloatField(blank=True, help_text="upper end of the 95 % interval", null=True),
        ),
        migrations.AlterField(
            model_name="metric",
            name="low",
            field=models.FloatField(blank=True, help_text="lower end of the 95 % interval", null=True),
        ),
    ]

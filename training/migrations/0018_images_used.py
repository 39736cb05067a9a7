"""How many training images a model was fitted on, and candidates scored on the images that all held out."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0017_service_allowed_origins")]
    operations = [
        migrations.AddField(
            model_name="trainingversion",
            name="images_used",
            field=models.JSONField(blank=True, default=dict, editable=False),
        ),
        migrations.AlterField(
            model_name="candidate",
            name="accuracy",
            field=models.FloatField(
                blank=True,
                help_text="on all images that it held out; compares with no other candidate's",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="candidate",
            name="fitted",
            field=models.PositiveIntegerField(
                blank=True, help_text="training images it was fitted on", null=True
            ),
        ),
        migrations.AddField(
            model_name="candidate",
            name="judged",
            field=models.PositiveIntegerField(blank=True, help_text="training images it held out", null=True),
        ),
        migrations.AddField(
            model_name="candidate",
            name="common_images",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="candidate",
            name="common_hits",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="candidate",
            name="common_loss",
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="candidate",
            name="p_value",
            field=models.FloatField(
                blank=True,
                help_text="of the difference from the chosen candidate, on the common images",
                null=True,
            ),
        ),
    ]

"""Images of answered calls."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0017_service_allowed_origins")]
    operations = [
        migrations.AddField(
            model_name="callminute",
            name="images",
            field=models.PositiveIntegerField(default=0, help_text="of the answered calls"),
        ),
    ]

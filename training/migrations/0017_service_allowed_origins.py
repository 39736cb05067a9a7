"""Websites whose pages may call a service from the browser."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0016_stop_reason_wording")]
    operations = [
        migrations.AddField(
            model_name="service",
            name="allowed_origins",
            field=models.JSONField(blank=True, default=list, help_text="websites whose pages may call it"),
        ),
    ]

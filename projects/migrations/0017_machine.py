"""Machines that run the program, as each reports itself."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0016_languages"),
    ]

    operations = [
        migrations.CreateModel(
            name="Machine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("host", models.CharField(max_length=255)),
                ("data_folder", models.CharField(max_length=1024)),
                ("program", models.CharField(max_length=64, verbose_name="version")),
                ("parts", models.JSONField(default=list)),
                ("settings", models.JSONField(default=dict)),
                ("cores", models.PositiveIntegerField(default=0)),
                ("has_gpu", models.BooleanField(null=True)),
                ("disk_free", models.PositiveBigIntegerField(default=0)),
                ("disk_total", models.PositiveBigIntegerField(default=0)),
                ("disk_usage", models.JSONField(default=dict)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={"ordering": ["host", "data_folder"]},
        ),
        migrations.AddConstraint(
            model_name="machine",
            constraint=models.UniqueConstraint(
                fields=("host", "data_folder"), name="one_machine_per_host_and_folder"
            ),
        ),
    ]

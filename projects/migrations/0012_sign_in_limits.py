"""Counters of failed attempts to sign in, accounts whose password has to be changed, names without hidden characters."""

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("projects", "0011_test_split_and_review"),
    ]

    operations = [
        migrations.CreateModel(
            name="FailedAttempts",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("account", "An account, from everywhere"),
                            ("pair", "An account, from one address"),
                            ("browser", "An account, from a browser that it knows"),
                            ("address", "An address, to all accounts"),
                            ("tokens", "Wrong tokens from one address"),
                        ],
                        max_length=8,
                    ),
                ),
                ("key", models.CharField(editable=False, max_length=64, unique=True)),
                ("who", models.CharField(blank=True, max_length=200, verbose_name="who or where")),
                ("count", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("ends_at", models.DateTimeField(db_index=True, verbose_name="forgotten at")),
            ],
            options={
                "verbose_name": "counter of failed attempts to sign in",
                "verbose_name_plural": "failed attempts to sign in",
                "ordering": ["-count", "-ends_at"],
            },
        ),
        migrations.CreateModel(
            name="InitialPassword",
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
        migrations.AlterField(
            model_name="label",
            name="name",
            field=models.CharField(
                max_length=64,
                validators=[
                    django.core.validators.RegexValidator(
                        "\\A(?=\\S)[^\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e"
                        "\\u2060-\\u206f\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f/\\\\,;]"
                        "{1,64}(?<=\\S)\\Z",
                        "Use 1 to 64 characters without slash, comma, semicolon, line break or hidden characters.",
                    )
                ],
            ),
        ),
    ]

"""Teams that require a second factor, invitations, counters of codes and of mails to reset a password."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0021_backups"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="team",
            name="second_factor_required",
            field=models.BooleanField(default=False),
        ),
        migrations.AlterField(
            model_name="failedattempts",
            name="kind",
            field=models.CharField(
                choices=[
                    ("account", "An account, from everywhere"),
                    ("pair", "An account, from one address"),
                    ("browser", "An account, from a browser that it knows"),
                    ("address", "An address, to all accounts"),
                    ("tokens", "Wrong tokens from one address"),
                    ("second", "Second factor of an account"),
                    ("mails", "Mails asked for from one address"),
                ],
                max_length=8,
            ),
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.PositiveSmallIntegerField(
                        choices=[(10, "Viewer"), (20, "Labeler"), (25, "Reviewer"), (30, "Manager")],
                        default=20,
                    ),
                ),
                ("email", models.EmailField(blank=True, max_length=254)),
                ("token_hash", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="invitations",
                        to="projects.team",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("role__in", [10, 20, 25, 30])),
                        name="role_of_an_invitation_is_known",
                    )
                ],
            },
        ),
    ]

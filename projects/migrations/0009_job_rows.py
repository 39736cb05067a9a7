"""The field `state` is called `status`, as in every row that a worker works on; its column stays.

Help texts are those of today.
"""

from django.db import migrations, models

STATUSES = ["Uploading", "Waiting", "Running", "Completed", "Failed", "Cancelled"]


class Migration(migrations.Migration):
    dependencies = [("projects", "0008_names")]
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint("transfer", "transfer_state_is_known"),
                migrations.RenameField("transfer", "state", "status"),
                migrations.AlterField(
                    "transfer",
                    "status",
                    models.CharField(
                        max_length=9,
                        choices=[(status, status) for status in STATUSES],
                        default="Waiting",
                        db_column="state",
                    ),
                ),
                migrations.AddConstraint(
                    "transfer",
                    models.CheckConstraint(
                        condition=models.Q(status__in=STATUSES), name="transfer_state_is_known"
                    ),
                ),
                migrations.AlterField("transfer", "traceback", models.TextField(blank=True)),
                migrations.AlterField(
                    "transfer",
                    "file_name",
                    models.CharField(blank=True, help_text="name of the uploaded file", max_length=255),
                ),
                migrations.AlterField(
                    "project",
                    "opinion_share",
                    models.PositiveSmallIntegerField(
                        "second opinions (%)",
                        default=0,
                        help_text="share of the labeled images that a second person labels, blind",
                    ),
                ),
            ],
        )
    ]

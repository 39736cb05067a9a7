"""The field `state` is called `status`, as in every row that a worker works on; its column stays."""

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
            ],
        )
    ]

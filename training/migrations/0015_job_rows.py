"""The field `state` is called `status`, as in every row that a worker works on; its column stays."""

from django.db import migrations, models

STATUSES = ["Waiting", "Running", "Completed", "Cancelled", "Failed"]


class Migration(migrations.Migration):
    dependencies = [("training", "0014_names")]
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("batch", "sweep_of_batches"),
                migrations.RemoveConstraint("batch", "batch_state_is_known"),
                migrations.RenameField("batch", "state", "status"),
                migrations.AlterField(
                    "batch",
                    "status",
                    models.CharField(
                        max_length=9,
                        choices=[(status, status) for status in STATUSES],
                        default="Waiting",
                        db_column="state",
                    ),
                ),
                migrations.AddConstraint(
                    "batch",
                    models.CheckConstraint(
                        condition=models.Q(status__in=STATUSES), name="batch_state_is_known"
                    ),
                ),
                migrations.AddIndex(
                    "batch", models.Index(fields=["status", "heartbeat_at"], name="sweep_of_batches")
                ),
            ],
        )
    ]

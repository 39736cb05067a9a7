"""Setting images aside as test images is an action of the history. No table changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0013_metadata_columns"),
    ]

    operations = [
        migrations.AlterField(
            model_name="labelevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("label", "Labeled"),
                    ("confirm", "Confirmed suggestions"),
                    ("import", "Imported"),
                    ("rename-label", "Renamed a label"),
                    ("edit-label", "Changed a label"),
                    ("merge-labels", "Merged labels"),
                    ("delete-label", "Deleted a label"),
                    ("delete-images", "Deleted images"),
                    ("restore-images", "Restored images"),
                    ("metadata", "Set metadata"),
                    ("set-split", "Changed the split"),
                    ("undo", "Undone"),
                    ("redo", "Redone"),
                ],
                max_length=16,
            ),
        ),
    ]

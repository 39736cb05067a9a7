"""Texts of choices in plain English. No table changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0009_job_rows"),
    ]

    operations = [
        migrations.AlterField(
            model_name="annotation",
            name="source",
            field=models.CharField(
                choices=[
                    ("human", "By hand"),
                    ("sample", "From the sample project"),
                    ("import", "Imported"),
                    ("auto", "Confirmed suggestion"),
                ],
                db_column="how",
                default="human",
                max_length=8,
            ),
        ),
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
                    ("undo", "Undone"),
                    ("redo", "Redone"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="project",
            name="opinion_share",
            field=models.PositiveSmallIntegerField(
                default=0,
                help_text="share of the labeled images that a second person labels, blind",
                verbose_name="second opinions (%)",
            ),
        ),
        migrations.AlterField(
            model_name="transfer",
            name="file_name",
            field=models.CharField(blank=True, help_text="name of the uploaded file", max_length=255),
        ),
    ]

"""The audit log, and triggers of the database that keep it append-only."""

import django.utils.timezone
from django.db import migrations, models

# An event is never changed, and deleted after 30 days at the earliest. SQLite drops the triggers of a table that
# a later migration makes anew: such a migration has to make them again.
SQLITE = (
    "CREATE TRIGGER audit_events_stay BEFORE UPDATE ON projects_auditevent "
    "BEGIN SELECT RAISE(ABORT, 'The audit log is append-only.'); END",
    "CREATE TRIGGER audit_events_last BEFORE DELETE ON projects_auditevent "
    "WHEN OLD.at > datetime('now', '-30 days') "
    "BEGIN SELECT RAISE(ABORT, 'The audit log is append-only: events stay for 30 days.'); END",
)
POSTGRESQL = (
    "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'The audit log is append-only.'; END $$",
    "CREATE TRIGGER audit_events_stay BEFORE UPDATE ON projects_auditevent "
    "FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()",
    "CREATE TRIGGER audit_events_last BEFORE DELETE ON projects_auditevent "
    "FOR EACH ROW WHEN (OLD.at > now() - interval '30 days') EXECUTE FUNCTION refuse_audit_change()",
)


def make_triggers(apps, schema_editor):
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def drop_triggers(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS audit_events_stay")
        schema_editor.execute("DROP TRIGGER IF EXISTS audit_events_last")
    else:
        schema_editor.execute("DROP FUNCTION refuse_audit_change() CASCADE")


class Migration(migrations.Migration):
    dependencies = [("projects", "0017_machine")]

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ("kind", models.CharField(max_length=24)),
                (
                    "way",
                    models.CharField(
                        choices=[
                            ("page", "Page"),
                            ("admin", "Operators’ pages"),
                            ("api", "API"),
                            ("job", "Job"),
                            ("command", "Command line"),
                        ],
                        max_length=8,
                    ),
                ),
                ("user_id", models.BigIntegerField(null=True, verbose_name="person's key")),
                ("user_name", models.CharField(blank=True, max_length=150, verbose_name="person")),
                ("address", models.CharField(blank=True, max_length=45)),
                ("team_id", models.BigIntegerField(null=True, verbose_name="team's key")),
                ("team_name", models.CharField(blank=True, max_length=64, verbose_name="team")),
                ("project_id", models.BigIntegerField(null=True, verbose_name="project's key")),
                ("project_name", models.CharField(blank=True, max_length=32, verbose_name="project")),
                ("target", models.CharField(blank=True, max_length=255)),
                ("details", models.JSONField(blank=True, default=dict)),
                ("request_id", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "ordering": ["-pk"],
                "indexes": [models.Index(fields=["team_id", "-id"], name="audit_of_a_team")],
            },
        ),
        migrations.RunPython(make_triggers, drop_triggers),
    ]
